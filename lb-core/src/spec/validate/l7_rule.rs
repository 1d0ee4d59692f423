//! What a rule looks at, crossing the border: which types have which key, comparison and value.

use super::{Border, NodeId, types};
use crate::config::l7::{CompareType, Comparison, PercentKey, REGEX_COMPILED_MAX, Test, compile_regex};
use crate::limits::cidr::Cidr;
use crate::spec::L7_REGEXES_MAX;
use crate::spec::mistake::shown;
use types::RuleType as Type;

impl Border<'_> {
    /// `None` if something is wrong with it or missing, which is reported.
    pub(super) fn test(&mut self, rule: &mut types::L7Rule) -> Option<Test> {
        let (at, kind) = (rule.at, rule.kind?);
        let key = self.rule_key(at, kind, rule.key.take());
        let compare = self.compare_type(at, kind, rule.compare_type);
        let value = rule.value.take()?.into_text();
        let comparison = |compare| Comparison { compare, value: value.clone() };
        match kind {
            Type::SslConnHasCert => return self.is_true(at, &value).then_some(Test::SslConnHasCert),
            Type::SslVerifyResult => return self.verify_result(at, &value).map(Test::SslVerifyResult),
            Type::SourceIp => return self.source_networks(at, &value).map(Test::SourceIp),
            Type::Percent => {
                let percent = self.percent(at, &value)?;
                return Some(Test::Percent(percent, self.percent_key(at, &key??)?));
            }
            _ => {}
        }
        let (key, compare) = (key?, compare?);
        if compare == CompareType::Regex {
            self.rule_regex(at, &value, kind == Type::HostName);
        }
        let name = key.unwrap_or_default();
        Some(match kind {
            Type::HostName => Test::HostName(comparison(compare)),
            Type::Path => Test::Path(comparison(compare)),
            // As HAProxy compares with the end of the path, people write the dot, too.
            Type::FileType if compare == CompareType::EqualTo => {
                let value = value.strip_prefix('.').unwrap_or(&value).to_owned();
                Test::FileType(Comparison { compare, value })
            }
            Type::FileType => Test::FileType(comparison(compare)),
            Type::Header => Test::Header(name, comparison(compare)),
            Type::Cookie => Test::Cookie(name, comparison(compare)),
            Type::SslDnField => Test::SslDnField(name, comparison(compare)),
            Type::Method => Test::Method(comparison(compare)),
            Type::Query => Test::Query((!name.is_empty()).then_some(name), comparison(compare)),
            Type::SslConnHasCert | Type::SslVerifyResult | Type::SourceIp | Type::Percent => return None,
        })
    }

    /// The outer `None`: it is missing or wrong, and reported. The inner: none is needed.
    fn rule_key(&mut self, at: NodeId, kind: Type, key: Option<types::Line>) -> Option<Option<String>> {
        let Some(types::Line(key)) = key else {
            let help = match kind {
                Type::Header => "the name of a field",
                Type::Cookie => "the name of a cookie",
                Type::SslDnField => "the name of a field of the subject, like `CN`",
                Type::Percent => return Some(Some(String::new())),
                _ => return Some(None),
            };
            self.lacks(at, "key", help);
            return None;
        };
        let good = match kind {
            Type::Header => self.field_name(self.tree.spot_of(at, "key"), &key),
            Type::Cookie => self.cookie_key(at, &key),
            Type::SslDnField => {
                let good = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
                if !good {
                    let message = format!("{} is no field of a subject", shown(&key));
                    self.mistake(self.tree.spot_of(at, "key"), message, "like `CN`, `O` or `OU`".to_owned());
                }
                good
            }
            Type::Query => {
                let good = key.bytes().all(|b| b.is_ascii_graphic() && !b"&=#".contains(&b));
                if !good {
                    let message = format!("{} is no name of a parameter", shown(&key));
                    let help = "as it stands in the query, before `=`; others are written like `%20`".to_owned();
                    self.mistake(self.tree.spot_of(at, "key"), message, help);
                }
                good
            }
            Type::Percent => true,
            _ => {
                let message = format!("`key` does nothing for {}", kind.word());
                self.mistake(self.tree.spot_of_key(at, "key"), message, "leave it out".to_owned());
                false
            }
        };
        good.then_some(Some(key))
    }

    fn cookie_key(&mut self, at: NodeId, name: &str) -> bool {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let good = !name.is_empty() && !name.starts_with('$') && name.bytes().all(token);
        if !good {
            let help = "letters, digits and hyphens, like `session-id`".to_owned();
            self.mistake(self.tree.spot_of(at, "key"), format!("{} is no name of a cookie", shown(name)), help);
        }
        good
    }

    fn compare_type(&mut self, at: NodeId, kind: Type, written: Option<types::CompareType>) -> Option<CompareType> {
        let allowed: &[CompareType] = match kind {
            Type::SslConnHasCert | Type::SslVerifyResult | Type::SourceIp | Type::Percent => &[CompareType::EqualTo],
            Type::FileType => &[CompareType::EqualTo, CompareType::Regex],
            _ => &[
                CompareType::Regex,
                CompareType::StartsWith,
                CompareType::EndsWith,
                CompareType::Contains,
                CompareType::EqualTo,
            ],
        };
        let Some(written) = written else {
            if let [only] = allowed {
                return Some(*only);
            }
            self.lacks(at, "compare_type", "a rule says how it compares");
            return None;
        };
        let compare = compare_type(written);
        if !allowed.contains(&compare) {
            let words: Vec<&str> = allowed.iter().map(|compare| compare_word(*compare)).collect();
            let message = format!("{} cannot be compared with {}", kind.word(), compare_word(compare));
            self.mistake(self.tree.spot_of(at, "compare_type"), message, format!("one of: {}", words.join(", ")));
            return None;
        }
        Some(compare)
    }

    fn is_true(&mut self, at: NodeId, value: &str) -> bool {
        let good = value.eq_ignore_ascii_case("true");
        if !good {
            let help = "write `True`; for clients without a certificate add `invert: true`".to_owned();
            self.mistake(self.tree.spot_of(at, "value"), "this can only be compared with `True`", help);
        }
        good
    }

    fn verify_result(&mut self, at: NodeId, value: &str) -> Option<u32> {
        let number = value.parse().ok().filter(|_| value.bytes().all(|b| b.is_ascii_digit()));
        if number.is_none() {
            let help = "OpenSSL's number for it: 0 is well, 10 expired, 18 self-signed".to_owned();
            self.mistake(self.tree.spot_of(at, "value"), format!("{} is no result", shown(value)), help);
        }
        number
    }

    fn source_networks(&mut self, at: NodeId, value: &str) -> Option<Vec<Cidr>> {
        let mut networks = Vec::new();
        for part in value.split(',').map(str::trim) {
            match part.parse::<Cidr>() {
                Ok(network) => networks.push(network),
                Err(why) => {
                    let message = format!("{} is not a network", shown(part));
                    self.mistake(self.tree.spot_of(at, "value"), message, why.to_string());
                    return None;
                }
            }
        }
        networks.sort();
        networks.dedup();
        Some(networks)
    }

    fn percent(&mut self, at: NodeId, value: &str) -> Option<u8> {
        let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let percent = value.parse().ok().filter(|percent| plain && *percent <= 100);
        if percent.is_none() {
            let message = format!("{} is no share of a hundred", shown(value));
            self.mistake(self.tree.spot_of(at, "value"), message, "a whole number from 0 to 100".to_owned());
        }
        percent
    }

    fn percent_key(&mut self, at: NodeId, key: &str) -> Option<PercentKey> {
        let spot = self.tree.spot_of(at, "key");
        match key.split_once(':') {
            None if key.is_empty() => return Some(PercentKey::Draw),
            None if key == "SOURCE_IP" => return Some(PercentKey::SourceIp),
            Some(("COOKIE", name)) => return self.cookie_key(at, name).then(|| PercentKey::Cookie(name.to_owned())),
            Some(("HEADER", name)) => {
                return self.field_name(spot, name).then(|| PercentKey::Header(name.to_owned()));
            }
            _ => {}
        }
        let message = format!("{} says not what keeps a client on its side", shown(key));
        let help = "`SOURCE_IP`, `COOKIE:name` or `HEADER:name`; without a key each request is drawn anew".to_owned();
        self.mistake(spot, message, help);
        None
    }

    fn rule_regex(&mut self, at: NodeId, pattern: &str, any_case: bool) {
        let known = (pattern.to_owned(), any_case);
        if self.unique.l7_regexes.contains(&known) {
            return;
        }
        let fault = if self.unique.l7_regexes.len() >= L7_REGEXES_MAX {
            Some(("too many regular expressions".to_owned(), format!("at most {L7_REGEXES_MAX} different ones")))
        } else {
            compile_regex(pattern, any_case).err().map(|error| regex_fault(&error))
        };
        self.unique.l7_regexes.insert(known);
        if let Some((message, help)) = fault {
            self.mistake(self.tree.spot_of(at, "value"), message, help);
        }
    }
}

fn regex_fault(error: &regex::Error) -> (String, String) {
    if let regex::Error::CompiledTooBig(_) = error {
        let message = "this regular expression explodes: compiled it is too large".to_owned();
        return (message, format!("at most {} KiB; repeat less", REGEX_COMPILED_MAX / 1024));
    }
    // The library draws the pattern over several lines; the last one is the reason.
    let words = error.to_string();
    let reason = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let message = format!("this regular expression does not compile: {reason}");
    let help = "the syntax is RE2's, which is PCRE's without look-around, back-references, atomic groups, `\\Q..\\E` \
                and recursion; a literal `{` is written `\\{`";
    (message, help.to_owned())
}

fn compare_type(written: types::CompareType) -> CompareType {
    match written {
        types::CompareType::Regex => CompareType::Regex,
        types::CompareType::StartsWith => CompareType::StartsWith,
        types::CompareType::EndsWith => CompareType::EndsWith,
        types::CompareType::Contains => CompareType::Contains,
        types::CompareType::EqualTo => CompareType::EqualTo,
    }
}

fn compare_word(compare: CompareType) -> &'static str {
    match compare {
        CompareType::Regex => "REGEX",
        CompareType::StartsWith => "STARTS_WITH",
        CompareType::EndsWith => "ENDS_WITH",
        CompareType::Contains => "CONTAINS",
        CompareType::EqualTo => "EQUAL_TO",
    }
}

//! Each mistake at its place, with its words.

use super::mistakes;

/// Checks a document with `BODY` replaced by each fragment against the only mistake expected in it.
fn each(document: &str, cases: &[(&str, &str)]) {
    for (fragment, expected) in cases {
        let text = document.replace("BODY", fragment);
        assert_eq!(mistakes(&text), [*expected], "{text}");
    }
}

#[test]
fn of_a_load_balancer() {
    each(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  BODY\n",
        &[
            ("nmae: web", "3:3 unknown key `nmae` | did you mean `name`?"),
            (
                "colour: red",
                "3:3 unknown key `colour` | `loadbalancer` may have: admin_state_up, description, id, listeners, name, \
                 pools, project_id, provider, resolvers, tags, vip_address, vip_network_id, vip_port_id, vip_subnet_id, \
                 workers",
            ),
            ("lb_algorithm: ROUND_ROBIN", "3:3 unknown key `lb_algorithm` | `lb_algorithm` belongs to a pool"),
            ("vip_sg_ids: [a]", "3:3 `vip_sg_ids` is not supported by this version yet | leave it out"),
            ("flavor_id: a", "3:3 `flavor_id` is not supported by this version yet | leave it out"),
            ("flavour_id: a", "3:3 unknown key `flavour_id` | `flavor_id` is not supported by this version yet"),
            (
                "resolvers: [10.0.0.53, dns]",
                "3:26 `dns` is not an IP address | the address of a DNS server, like \
             `10.0.0.53`, `10.0.0.53:5353` or `[2001:db8::53]:5353`",
            ),
            ("resolvers: 10.0.0.53", "3:14 expected a list, found the text `10.0.0.53`"),
            ("workers: 0", "3:12 0 is out of range | from 1 to 64"),
            ("workers: 65", "3:12 65 is out of range | from 1 to 64"),
            ("workers: -1", "3:12 -1 is out of range | from 1 to 64"),
            ("workers: two", "3:12 expected a number, found the text `two` | from 1 to 64"),
            ("workers: \"2\"", "3:12 expected a number, found the text `2` | write it without quotes: 2"),
            ("workers: 2.5", "3:12 expected a whole number, found `2.5` | a whole number from 1 to 64"),
            ("workers: 0x10", "3:12 expected a decimal number, found `0x10` | write 16"),
            ("workers: 010", "3:12 expected a plain number, found `010` | write 10"),
            (
                "workers: 1e1",
                "3:12 expected a whole number, found `1e1` | write all its digits: a whole number from 1 to 64",
            ),
            ("workers: 99999999999999999999", "3:12 `99999999999999999999` is out of range | from 1 to 64"),
            ("workers: .inf", "3:12 expected a whole number, found `.inf` | a whole number from 1 to 64"),
            ("workers: [2]", "3:12 expected a number, found a list"),
            ("workers: true", "3:12 expected a number, found `true` | from 1 to 64"),
            ("name: 2014", "3:9 expected text, found the number `2014` | write it in quotes: \"2014\""),
            ("name: true", "3:9 expected text, found `true` | write it in quotes: \"true\""),
            ("name: {a: b}", "3:9 expected text, found a mapping"),
            ("name: \"a\\nb\"", "3:9 line breaks and tabs are not allowed here"),
            ("admin_state_up: yes", "3:19 expected `true` or `false`, found the text `yes` | did you mean `true`?"),
            (
                "admin_state_up: \"false\"",
                "3:19 expected `true` or `false`, found the text `false` | write it without quotes: false",
            ),
            ("admin_state_up: 0", "3:19 expected `true` or `false`, found the number `0` | did you mean `false`?"),
            (
                "id: web",
                "3:7 `web` is not a UUID | like 5d3f7c52-93c4-4d0e-9a55-776569720001; without one, an id is made from the name",
            ),
            ("tags: web", "3:9 expected a list, found the text `web`"),
            ("tags: [a, 1]", "3:13 expected text, found the number `1` | write it in quotes: \"1\""),
            ("tags: [a, null]", "3:13 expected text, found nothing"),
            ("listeners: {a: b}", "3:14 expected a list, found a mapping"),
            ("listeners: [a]", "3:15 expected a mapping, found the text `a`"),
        ],
    );
    each(
        "BODY",
        &[
            ("{}", "1:1 `loadbalancer` is missing | a document needs it"),
            ("loadbalancer:", "1:1 `loadbalancer` is missing | a document needs it"),
            ("loadbalancer: {}", "1:15 `vip_address` is missing | `loadbalancer` needs it"),
            ("loadbalancer: []", "1:15 expected a mapping, found a list"),
            ("loadbalancer: {vip_adress: 10.0.0.1}", "1:16 unknown key `vip_adress` | did you mean `vip_address`?"),
            (
                "loadbalancer: {vip_address: lb.example.org}",
                "1:29 `lb.example.org` is not an IP address | write an IPv4 or IPv6 address; host names are for members only",
            ),
            (
                "loadbalancer: {vip_address: '::ffff:10.0.0.1'}",
                "1:29 ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes | write 10.0.0.1",
            ),
            (
                "loadbalancer: {vip_address: 0.0.0.0}",
                "1:29 0.0.0.0 is the unspecified address | give the address of one host",
            ),
            (
                "loadbalancer: {vip_address: 10.0.0.1}\nversion: 1",
                "2:1 unknown key `version` | a document may have: loadbalancer",
            ),
        ],
    );
    let long = "x".repeat(256);
    each(
        "loadbalancer: {vip_address: 10.0.0.1, name: BODY}",
        &[(&long, "1:45 256 characters are too many | at most 255")],
    );
}

#[test]
fn of_a_listener() {
    each(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - protocol: HTTP\n    protocol_port: 80\n    BODY\n",
        &[
            ("timeout_tcp_inspect: -1", "6:26 -1 is out of range | from 0 to 2073600000"),
            (
                "connection_limit: 0",
                "6:23 a limit of 0 would refuse everybody | -1 means no limit; `admin_state_up: false` closes the listener",
            ),
            ("connection_limit: -2", "6:23 -2 is out of range | from -1 to 4294967295"),
            ("timeout_client_data: 2073600001", "6:26 2073600001 is out of range | from 0 to 2073600000"),
            (
                "insert_headers: {X-SSL-Client-Cn: 'true'}",
                "6:22 unknown key `X-SSL-Client-Cn` | did you mean `X-SSL-Client-CN`?",
            ),
            (
                "insert_headers: {x-forwarded-for: 'true'}",
                "6:22 unknown key `x-forwarded-for` | did you mean `X-Forwarded-For`?",
            ),
            ("insert_headers: {X-Forwarded-For: 'True'}", "6:39 unknown word `True` | did you mean `true`?"),
            (
                "insert_headers: {X-Forwarded-For: 1}",
                "6:39 expected `true` or `false` or a word, found the number `1` | did you mean `true`?",
            ),
            ("insert_headers: [X-Forwarded-For]", "6:21 expected a mapping, found a list"),
            ("log: true", "6:10 expected `false` or a mapping, found `true`"),
            ("log: {format: clf}", "6:19 unknown word `clf` | one of: httplog, tcplog, json, none"),
            (
                "log: {target: stdout}",
                "6:19 `stdout` is no target of a log | `stderr`, `file:/absolute/path`, or `syslog:/dev/log`",
            ),
            ("log: {target: 'file:log'}", "6:19 the path is not the absolute path of a file | it starts with `/`"),
            ("log: {facility: local8}", "6:21 unknown word `local8` | did you mean `local0`?"),
            ("log: {tag: 'a b'}", "6:16 this is no name of a program | printable ASCII characters without spaces"),
            ("log: {tag: ''}", "6:16 this may not be empty | write a value or leave the key out"),
            ("error_pages: {418: teapot}", "6:19 unknown key `418` | did you mean `408`?"),
            (
                "default_pool: {name: web}",
                "6:26 no pool of `pools` is named `web` | `pools` of this document has no named pool",
            ),
            (
                "default_pool: {}",
                "6:19 this names no pool and is none | give the `name` or `id` of one of `pools`, or a pool with `protocol` and `lb_algorithm`",
            ),
            ("default_pool: web", "6:19 expected a mapping, found the text `web`"),
            (
                "default_pool_id: 5d3f7c52-93c4-4d0e-9a55-776569720001",
                "6:22 no pool of `pools` has the id 5d3f7c52-93c4-4d0e-9a55-776569720001",
            ),
            (
                "default_pool: {protocol: TCP, lb_algorithm: ROUND_ROBIN}",
                "6:30 a listener of protocol HTTP cannot use a pool of protocol TCP | its pool may be: HTTP, PROXY, PROXYV2",
            ),
        ],
    );
    each(
        "loadbalancer: {vip_address: 10.0.0.1, listeners: [BODY]}",
        &[
            ("{protocol_port: 80}", "1:51 `protocol` is missing | a listener needs it"),
            ("{protocol: HTTP}", "1:51 `protocol_port` is missing | a listener needs it"),
            ("{protocol: HTTP, protocol_port: null}", "1:68 `protocol_port` is missing | a listener needs it"),
            ("{protocol: HTTP, protocol_port: 0}", "1:83 0 is out of range | from 1 to 65535"),
            ("{protocol: HTTP, protocol_port: 65536}", "1:83 65536 is out of range | from 1 to 65535"),
            ("{protocol: http, protocol_port: 80}", "1:62 unknown word `http` | did you mean `HTTP`?"),
            (
                "{protocol: udp, protocol_port: 80}",
                "1:62 `UDP` is not supported by this version yet | one of: TCP, HTTP, HTTPS, TERMINATED_HTTPS",
            ),
            (
                "{protocol: TCP, protocol_port: 80, insert_headers: {X-Forwarded-For: 'true'}}",
                "1:86 `insert_headers` is only for HTTP listeners, and this one is TCP | leave it out",
            ),
            (
                "{protocol: HTTPS, protocol_port: 80, error_pages: {503: x}}",
                "1:88 `error_pages` is only for HTTP listeners, and this one is HTTPS | leave it out",
            ),
            (
                "{protocol: TCP, protocol_port: 80, log: {format: httplog}}",
                "1:100 `httplog` needs an HTTP listener: this one reads no requests | use `tcplog` or `json`",
            ),
            (
                "{protocol: TCP, protocol_port: 80}, {protocol: TCP, protocol_port: 80}",
                "1:118 port 80 is taken by line 1 | every listener of a VIP needs a port of its own",
            ),
        ],
    );
}

#[test]
fn of_a_pool_and_its_members() {
    each(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - BODY\n",
        &[
            ("{name: a, lb_algorithm: SOURCE_IP}", "4:5 `protocol` is missing | a pool needs it"),
            (
                "{protocol: TCP, lb_algorithm: SOURCE_IP}",
                "4:5 a shared pool needs a `name` or an `id` | give it a name, so that listeners can use it",
            ),
            (
                "{name: a, protocol: PROXYV3, lb_algorithm: SOURCE_IP}",
                "4:25 unknown word `PROXYV3` | did you mean `PROXYV2`?",
            ),
            (
                "{name: a, protocol: SCTP, lb_algorithm: SOURCE_IP}",
                "4:25 `SCTP` is not supported by this version yet | one of: TCP, HTTP, HTTPS, PROXY, PROXYV2",
            ),
            (
                "{name: a, protocol: TCP, lb_algorithm: ROUNDROBIN}",
                "4:44 unknown word `ROUNDROBIN` | did you mean `ROUND_ROBIN`?",
            ),
            (
                "{name: a, protocol: TCP, lb_algorithm: SOURCE_IP}\n  - {name: a, protocol: TCP, lb_algorithm: SOURCE_IP}",
                "5:12 the name `a` is taken by the pool on line 4 | every pool needs a name of its own, or none",
            ),
        ],
    );
    each(
        "loadbalancer:
  vip_address: 10.0.0.1
  listeners: [{protocol: TCP, protocol_port: 80}]
  pools:
  - name: a
    protocol: TCP
    lb_algorithm: ROUND_ROBIN
    members:
    - {name: x, address: 10.0.0.2, protocol_port: 80}
    - BODY
",
        &[
            ("{protocol_port: 80}", "10:7 `address` is missing | a member needs it"),
            ("{address: 10.0.0.3}", "10:7 `protocol_port` is missing | a member needs it"),
            ("{address: 10.0.0.3, protocol_port: 80, weight: 257}", "10:54 257 is out of range | from 0 to 256"),
            ("{address: 10.0.0.3, protocol_port: 80, weight: -1}", "10:54 -1 is out of range | from 0 to 256"),
            (
                "{address: 10.0.0.3, protocol_port: 80, vnic_type: normal}",
                "10:46 unknown key `vnic_type` | a member may have: address, admin_state_up, backup, id, max_connections, monitor_address, monitor_port, name, protocol_port, subnet_id, tags, weight",
            ),
            (
                "{address: 10.0.0.3, protocol_port: 80, monitor_port: 65536}",
                "10:60 65536 is out of range | from 1 to 65535",
            ),
            (
                "{address: 10.0.0.3, protocol_port: 80, monitor_address: health.example.org}",
                "10:63 `health.example.org` is not an IP address | write an IPv4 or IPv6 address; host names are for members only",
            ),
            (
                "{address: '10.0.0.3:80', protocol_port: 80}",
                "10:17 `10.0.0.3:80` is not an IP address | write 10.0.0.3; ports have the key `protocol_port`",
            ),
            (
                "{address: 10.0.0.2, protocol_port: 80}",
                "10:17 10.0.0.2:80 is taken by line 9 | a member is in its pool once: give it a higher weight for more work",
            ),
            (
                "{name: x, address: 10.0.0.3, protocol_port: 80}",
                "10:14 the name `x` is taken by the member on line 9 | every member needs a name of its own, or none",
            ),
            (
                "{address: 10.0.0.1, protocol_port: 80}",
                "10:17 this member is its own VIP: 10.0.0.1:80 is served by a listener of this document | give the address of a server",
            ),
        ],
    );
}

#[test]
fn of_ids_given_twice() {
    let id = "5d3f7c52-93c4-4d0e-9a55-776569720001";
    let text = format!(
        "loadbalancer:
  vip_address: 10.0.0.1
  listeners:
  - {{id: {id}, protocol: TCP, protocol_port: 80}}
  - {{id: {id}, protocol: TCP, protocol_port: 81}}
  pools:
  - id: {id}
    protocol: TCP
    lb_algorithm: SOURCE_IP
    members: [{{id: {id}, address: 10.0.0.2, protocol_port: 80}}]
  - name: b
    protocol: TCP
    lb_algorithm: SOURCE_IP
    members: [{{id: {id}, address: 10.0.0.2, protocol_port: 80}}]
"
    );
    let help = "every id names one object; leave it out to have one made";
    assert_eq!(
        mistakes(&text),
        [
            format!("5:10 the id {id} is taken by the listener on line 4 | {help}"),
            format!("14:20 the id {id} is taken by the member on line 10 | {help}"),
        ]
    );
}

#[test]
fn of_ids_that_are_derived_alike() {
    assert_eq!(
        mistakes(
            "loadbalancer:
  vip_address: 10.0.0.1
  listeners:
  - {name: '80', protocol: TCP, protocol_port: 81}
  - {protocol: TCP, protocol_port: 80}
"
        ),
        [
            "5:5 the id derived for this listener is that of the listener on line 4 | give one of them another name, or an id"
        ]
    );
}

#[test]
fn of_references() {
    let document = "loadbalancer:
  vip_address: 10.0.0.1
  pools: [{name: web, protocol: HTTP, lb_algorithm: ROUND_ROBIN}]
  listeners:
  - {protocol: HTTP, protocol_port: 81, default_pool: {name: inner, protocol: HTTP, lb_algorithm: SOURCE_IP}}
  - {protocol: HTTP, protocol_port: 80, BODY}
";
    each(
        document,
        &[
            ("default_pool: {name: wbe}", "6:62 no pool of `pools` is named `wbe` | did you mean `web`?"),
            ("default_pool: {name: other}", "6:62 no pool of `pools` is named `other` | there are: `web`"),
            (
                "default_pool: {name: inner}",
                "6:62 no pool of `pools` is named `inner` | a pool of that name stands inside a listener: move it to `pools` to share it",
            ),
            ("default_pool: {nmae: web}", "6:56 unknown key `nmae` | did you mean `name`?"),
            (
                "default_pool: {name: web}, default_pool_id: 5d3f7c52-93c4-4d0e-9a55-776569720001",
                "6:68 both `default_pool` and `default_pool_id` are given | keep one",
            ),
        ],
    );
}

#[test]
fn one_cause_is_one_mistake() {
    for text in [
        // The pool's name is wrong, so nobody can say that the reference dangles.
        "loadbalancer: {vip_address: 10.0.0.1, pools: [{name: 7, protocol: TCP, lb_algorithm: SOURCE_IP}],
           listeners: [{protocol: TCP, protocol_port: 1, default_pool: {name: web}}]}",
        // A doubled name of pools: their members have the same derived ids.
        "loadbalancer: {vip_address: 10.0.0.1, pools: [
           {name: a, protocol: TCP, lb_algorithm: SOURCE_IP, members: [{name: x, address: 10.0.0.2, protocol_port: 1}]},
           {name: a, protocol: TCP, lb_algorithm: SOURCE_IP, members: [{name: x, address: 10.0.0.2, protocol_port: 1}]}]}",
        // A doubled port: both inline pools have the same derived ids.
        "loadbalancer: {vip_address: 10.0.0.1, listeners: [
           {protocol: TCP, protocol_port: 1, default_pool: {protocol: TCP, lb_algorithm: SOURCE_IP}},
           {protocol: TCP, protocol_port: 1, default_pool: {protocol: TCP, lb_algorithm: SOURCE_IP}}]}",
        // An inline pool without a right word is not a reference.
        "loadbalancer: {vip_address: 10.0.0.1, listeners: [
           {protocol: TCP, protocol_port: 1, default_pool: {name: a, protocol: TCP, lb_algorithm: FASTEST}}]}",
        // A wrong port hides the VIP rule and the port rule.
        "loadbalancer: {vip_address: 10.0.0.1, listeners: [{protocol: TCP, protocol_port: 1}, {protocol: TCP, protocol_port: '1'}]}",
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    }
}

#[test]
fn of_too_many() {
    let many = |count: usize, piece: &dyn Fn(usize) -> String| (0..count).map(piece).collect::<String>();
    let pool = |members: &str| {
        format!(
            "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: TCP\n    lb_algorithm: SOURCE_IP\n    members:\n{members}"
        )
    };
    let member = |i: usize| format!("    - {{address: 10.1.{}.{}, protocol_port: 80}}\n", i / 256, i % 256);
    super::legal(&pool(&many(4096, &member)));
    let over = format!("{}    - wrong\n", many(4097, &member));
    assert_eq!(mistakes(&pool(&over)), ["4104:7 4098 entries are more than this list may have | at most 4096"]);

    let listeners = |inner: &str, count: usize| {
        let listener = |i: usize| format!("  - {{protocol: TCP, protocol_port: {}{inner}}}\n", i + 1);
        format!("loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n{}", many(count, &listener))
    };
    super::legal(&listeners("", 256));
    assert_eq!(mistakes(&listeners("", 257)), ["260:5 257 entries are more than this list may have | at most 256"]);

    let shared = |i: usize| format!("  - {{name: p{i}, protocol: TCP, lb_algorithm: SOURCE_IP}}\n");
    let inline = listeners(", default_pool: {protocol: TCP, lb_algorithm: SOURCE_IP}", 200);
    super::legal(&format!("{inline}  pools:\n{}", many(824, &shared)));
    let found = mistakes(&format!("{inline}  pools:\n{}", many(825, &shared)));
    assert_eq!(found, ["203:55 1025 pools are too many for one load balancer | at most 1024"]);
}

#[test]
fn twenty_of_them_in_one_pass() {
    let text = "loadbalancer:
  nmae: web
  vip_address: 10.0.0.0/24
  workers: 0
  admin_state_up: yes
  flavor_id: big
  tags: [1]
  id: web
  name: a
  name: b
  listeners:
  - protocol: htpp
    protocol_port: \"80\"
    connection_limit: 0
    timeout_client_data: -1
    log: {target: here}
    default_pool: {name: wbe}
  - protocol: TCP
    protocol_port: 70000
    insert_headers: {X-Forwarded-For: 'true'}
    error_pages: {999: x}
  - just text
  pools:
  - name: web
    protocol: TCP
    lb_algorithm: FASTEST
    members:
    - {address: lb_1/x, protocol_port: 80}
    - {protocol_port: 80, weight: 300}
";
    let expected = [
        "2:3 unknown key `nmae`",
        "3:16 `10.0.0.0/24` is not an IP address",
        "4:12 0 is out of range",
        "5:19 expected `true` or `false`, found the text `yes`",
        "6:3 `flavor_id` is not supported",
        "7:10 expected text, found the number `1`",
        "8:7 `web` is not a UUID",
        "10:3 `name` is written twice, first on line 9",
        "12:15 unknown word `htpp`",
        "13:20 expected a number, found the text `80`",
        "14:23 a limit of 0 would refuse everybody",
        "15:26 -1 is out of range",
        "16:19 `here` is no target of a log",
        "17:26 no pool of `pools` is named `wbe`",
        "19:20 70000 is out of range",
        "20:5 `insert_headers` is only for HTTP listeners",
        "21:19 unknown key `999`",
        "22:5 expected a mapping, found the text `just text`",
        "26:19 unknown word `FASTEST`",
        "28:17 `lb_1/x` is neither an IP address nor a host name",
        "29:7 `address` is missing",
        "29:35 300 is out of range",
    ];
    let found = mistakes(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

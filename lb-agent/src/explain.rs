//! Which data plane a question about a listener is for, and its answer.

use hyper::StatusCode;
use lb_control::client::ClientError;
use lb_control::explain::{Explanation, Question};
use lb_control::instance::Failed;
use lb_control::node::NotFound;
use lb_core::config::{Listener, LoadBalancer};
use lb_core::id::LoadBalancerId;

use crate::node::{Node, NodeFault};

impl Node {
    /// What would become of a request, as the data plane says that would serve it.
    pub async fn explain(&self, question: Question) -> Result<Explanation, NodeFault> {
        let (id, listener) = self.whose(&question)?;
        let question = Question { listener, ..question };
        self.control(id).explain(&question).await.map_err(|error| match &error {
            ClientError::Status { status: StatusCode::BAD_REQUEST, body, .. } => {
                let words = serde_json::from_slice::<Failed>(body).map(|failed| failed.message);
                NodeFault::Senseless(words.unwrap_or_else(|_| error.to_string()))
            }
            ClientError::Status { status: StatusCode::NOT_FOUND, body, .. } => {
                serde_json::from_slice(body).map_or_else(|_| NodeFault::Trouble(error.to_string()), NodeFault::NotFound)
            }
            _ => NodeFault::Trouble(error.to_string()),
        })
    }

    /// The load balancer that has the listener, and the listener's id.
    fn whose(&self, question: &Question) -> Result<(LoadBalancerId, String), NodeFault> {
        let documents = match &question.loadbalancer {
            Some(name) => vec![self.document(name)?],
            None => self.documents(),
        };
        let name = &*question.listener;
        let is_meant = |listener: &&Listener| listener.name == *name || listener.id.to_string() == *name;
        let found: Vec<(&LoadBalancer, &Listener)> = documents
            .iter()
            .filter_map(|document| Some((&**document, document.listeners.iter().find(is_meant)?)))
            .collect();
        match found.as_slice() {
            [(document, listener)] => Ok((document.id, listener.id.to_string())),
            [] => {
                let mut known: Vec<String> =
                    documents.iter().flat_map(|document| &document.listeners).map(Listener::label).collect();
                known.sort();
                known.dedup();
                Err(NodeFault::NotFound(NotFound::of("listener", name, known)))
            }
            several => {
                let label = |document: &LoadBalancer| match &*document.name {
                    "" => document.id.to_string(),
                    name => name.to_owned(),
                };
                let mut whose: Vec<String> = several.iter().map(|(document, _)| label(document)).collect();
                whose.sort();
                let whose = whose.join(", ");
                Err(NodeFault::Conflict(format!(
                    "several load balancers have a listener {name}: say which with --loadbalancer ({whose})"
                )))
            }
        }
    }
}

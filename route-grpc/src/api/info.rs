//! ServerService: which server this is, what it takes at most, what its caller may do, who leads.

use std::sync::Arc;
use std::time::Duration;

use route_access::Role;
use route_core::MAX_SESSIONS_OF_USER;
use route_proto::pieces::MAX_PIECES;
use route_proto::v1::server_service_server::ServerService;
use route_proto::v1::{
    CallerRights, GetServerInfoRequest, GetServerInfoResponse, Leader, ServerLimits, TermState,
};
use route_runtime::life::host_name;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::access::Caller;
use crate::api::broadcast::MAX_BATCH;
use crate::api::filter::{MAX_FILTERS, MAX_SHARES, USUAL_BYTES};
use crate::api::reader::WATERMARK;
use crate::api::requests::{KEPT, KEPT_FOR};
use crate::engine::record::Author;
use crate::leads::{self, Leads};
use crate::limits::{MAX_ID_BYTES, MAX_IDS, MAX_IDS_WITH_SESSIONS, MAX_PAGE, MAX_REQUEST_BYTES};
use crate::node::Node;
use crate::process::Process;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The service, for one process, whether it leads or not.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    process: Arc<Process>,
    /// What others are told of this process when it leads.
    author: Arc<Author>,
    leads: watch::Receiver<Leads>,
}

impl Info {
    /// Of a process that may lead, and is called so then.
    pub(crate) fn new(
        process: &Arc<Process>,
        author: Author,
        leads: watch::Receiver<Leads>,
    ) -> Self {
        Self {
            process: Arc::clone(process),
            author: Arc::new(author),
            leads,
        }
    }

    /// Of the only node of its site.
    pub(crate) fn alone(node: &Arc<Node>) -> Self {
        let author = Author {
            node_id: host_name(),
            version: VERSION.to_owned(),
            ..Author::default()
        };
        let (_, leads) = watch::channel(Leads::This(Arc::clone(node)));
        Self::new(&node.process, author, leads)
    }

    /// The name of this process.
    pub(crate) fn node_id(&self) -> &str {
        &self.author.node_id
    }

    /// This process, as the leader that it is by this node.
    fn leader(&self, node: &Node) -> Leader {
        Leader {
            node_id: self.author.node_id.clone(),
            term: node.tenure.term,
            api_url: self.author.api_url.clone(),
            version: self.author.version.clone(),
            state: state(node.serves()),
        }
    }

    fn limits(&self) -> ServerLimits {
        let settings = &self.process.settings;
        let duration = |it: Duration| it.try_into().ok();
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        ServerLimits {
            max_user_ids: number(MAX_IDS),
            max_user_ids_with_sessions: number(MAX_IDS_WITH_SESSIONS),
            max_page_size: number(MAX_PAGE),
            max_request_bytes: number(MAX_REQUEST_BYTES),
            max_publish_request_bytes: number(settings.publish_bytes),
            max_pdu_bytes: number(settings.pdu_limit),
            max_batch_requests: number(MAX_BATCH),
            max_request_id_bytes: number(MAX_ID_BYTES),
            remembered_request_ids: number(KEPT),
            request_id_age: duration(KEPT_FOR),
            max_filters: number(MAX_FILTERS),
            max_shares: MAX_SHARES,
            default_max_event_bytes: number(USUAL_BYTES),
            log_events: settings.log_events as u64,
            log_bytes: settings.log_bytes as u64,
            max_streams: number(self.process.streams.limit()),
            max_stream_age: duration(settings.max_stream_age),
            watermark_interval: duration(WATERMARK),
            call_wait: duration(settings.call_wait),
            max_request_pieces: number(MAX_PIECES),
            max_sessions_of_user: number(MAX_SESSIONS_OF_USER),
        }
    }
}

#[tonic::async_trait]
impl ServerService for Info {
    /// Of the process, so nothing is waited for.
    async fn get_server_info(
        &self,
        request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let clock = &self.process.clock;
        let leads = self.leads.borrow().clone();
        let (epoch, leader) = match &leads {
            Leads::This(node) => (format!("{:016x}", node.epoch), Some(self.leader(node))),
            Leads::Other(other) => (String::new(), Some(other.shown())),
            Leads::Unknown => (String::new(), None),
        };
        let term = match &leads {
            Leads::This(node) => node.tenure.term,
            Leads::Other(_) | Leads::Unknown => 0,
        };
        Ok(Response::new(GetServerInfoResponse {
            version: VERSION.to_owned(),
            epoch,
            start_time: Some(clock.timestamp(Duration::ZERO)),
            node_time: Some(clock.timestamp(clock.now())),
            limits: Some(self.limits()),
            rights: Some(CallerRights {
                presence: caller.may(Role::Reader),
                subscribe: caller.may(Role::Listener),
                publish: caller.may(Role::Publisher),
            }),
            node_id: self.author.node_id.clone(),
            term,
            leader,
        }))
    }
}

impl leads::Leader {
    fn shown(&self) -> Leader {
        Leader {
            node_id: self.node_id.clone(),
            term: self.term,
            api_url: self.api_url.clone(),
            version: self.version.clone(),
            state: state(self.serves),
        }
    }
}

fn state(serves: bool) -> i32 {
    let state = match serves {
        true => TermState::Serving,
        false => TermState::Beginning,
    };
    state.into()
}

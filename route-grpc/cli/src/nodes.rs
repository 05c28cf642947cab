//! `route-grpc nodes`: the nodes of a site, and who of them leads.

use anyhow::Context;
use clap::Args;
use route_proto::v1::server_service_client::ServerServiceClient;
use route_proto::v1::{GetServerInfoRequest, GetServerInfoResponse, Leader, TermState};
use route_runtime::flags::node_address;
use serde_json::{Value, json};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  3  none of the nodes could be reached
  8  no node leads, or more than one";

/// Flags of `nodes`.
#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    /// Nodes to ask, as --address [default: that one]; the leader that one of them names is asked, too
    #[arg(value_name = "NODE", value_parser = node_address)]
    nodes: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// One that was asked.
#[derive(Debug)]
struct Asked {
    address: String,
    answer: Result<Answer, Failure>,
}

/// What a node says of itself.
#[derive(Debug)]
struct Answer {
    info: GetServerInfoResponse,
    /// Its health; none: it does not say.
    is_ready: Option<bool>,
}

/// Shows a table, or one object per node.
pub(crate) async fn run(args: NodesArgs) -> Result<(), Failure> {
    let addresses = match args.nodes.is_empty() {
        true => vec![args.client.address.clone()],
        false => args.nodes.clone(),
    };
    let mut asked = ask_all(&args.client, addresses).await?;
    let named = unasked(&asked);
    asked.extend(ask_all(&args.client, named).await?);
    match args.client.json {
        true => asked
            .iter()
            .try_for_each(|it| show::line(&as_json(it).to_string()))?,
        false => table(&asked).print()?,
    }
    judge(asked)
}

/// At once: those that are away take long.
async fn ask_all(client: &ClientArgs, addresses: Vec<String>) -> Result<Vec<Asked>, Failure> {
    let ask_one = |address: String| {
        let client = client.clone();
        tokio::spawn(async move {
            let answer = ask(&client, &address).await;
            Asked { address, answer }
        })
    };
    let asking: Vec<_> = addresses.into_iter().map(ask_one).collect();
    let mut asked = Vec::with_capacity(asking.len());
    for one in asking {
        asked.push(one.await.context("a node could not be asked")?);
    }
    Ok(asked)
}

async fn ask(client: &ClientArgs, address: &str) -> Result<Answer, Failure> {
    let mut client = client.clone();
    client.address = address.to_owned();
    let connection = client.connect().await?;
    let info = ServerServiceClient::new(connection.clone())
        .get_server_info(client.request(GetServerInfoRequest {}))
        .await?
        .into_inner();
    // Of the process as a whole.
    let health = client.request(HealthCheckRequest::default());
    let health = HealthClient::new(connection).check(health).await;
    let is_ready = health.map(|it| it.into_inner().status == ServingStatus::Serving as i32);
    Ok(Answer {
        info,
        is_ready: is_ready.ok(),
    })
}

/// URLs of leaders that somebody names and nobody has been asked at.
fn unasked(asked: &[Asked]) -> Vec<String> {
    let here = || leaders(asked).filter_map(|it| it.leader.as_ref());
    let mut named: Vec<_> = answers(asked)
        .filter_map(|it| it.info.leader.as_ref())
        .filter(|it| !it.api_url.is_empty())
        .filter(|named| here().all(|it| (&it.node_id, it.term) != (&named.node_id, named.term)))
        .map(|it| it.api_url.clone())
        .filter(|url| asked.iter().all(|it| bare(&it.address) != bare(url)))
        .collect();
    named.sort();
    named.dedup();
    named
}

/// An address without what does not say where it is.
fn bare(address: &str) -> &str {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    host.trim_end_matches('/')
}

fn answers(asked: &[Asked]) -> impl Iterator<Item = &Answer> {
    asked.iter().filter_map(|it| it.answer.as_ref().ok())
}

/// Those that lead, by their own word.
fn leaders(asked: &[Asked]) -> impl Iterator<Item = &GetServerInfoResponse> {
    answers(asked).map(|it| &it.info).filter(|it| leads(it))
}

/// A node that stands by has no life of its own.
fn leads(info: &GetServerInfoResponse) -> bool {
    !info.epoch.is_empty()
}

/// Whether one node leads, and no more.
fn judge(mut asked: Vec<Asked>) -> Result<(), Failure> {
    let leaders: Vec<_> = leaders(&asked).map(|it| it.node_id.clone()).collect();
    match leaders.as_slice() {
        [_] => return Ok(()),
        [_, _, ..] => {
            let all = leaders.join(", ");
            return Err(Failure::Leaders(format!("more than one leads: {all}")));
        }
        [] => {}
    }
    let has_answer = |it: &Asked| it.answer.is_ok();
    if !asked.iter().any(has_answer) {
        // There is at least one.
        return asked.swap_remove(0).answer.map(|_| ());
    }
    let mut named = answers(&asked).filter_map(|it| it.info.leader.as_ref());
    Err(Failure::Leaders(match named.next() {
        Some(leader) => format!("{} is said to lead, and does not answer so", of(leader)),
        None => "no node leads".to_owned(),
    }))
}

/// How a leader is called.
fn of(leader: &Leader) -> String {
    match leader.term {
        0 => leader.node_id.clone(),
        term => format!("{} in term {term}", leader.node_id),
    }
}

/// What it is, in a word.
fn role(asked: &Asked) -> &'static str {
    let info = match &asked.answer {
        Ok(answer) => &answer.info,
        Err(Failure::Refused(_)) => return "refuses",
        Err(_) => return "unreachable",
    };
    let begins = info.leader.as_ref().map(Leader::state) == Some(TermState::Beginning);
    match (leads(info), begins) {
        (true, true) => "begins to lead",
        (true, false) => "leader",
        (false, _) => "standby",
    }
}

fn table(asked: &[Asked]) -> Table {
    let mut table = Table::new(&[
        ("node", Column::Id),
        ("address", Column::Id),
        ("role", Column::Word),
        ("ready", Column::Word),
        ("leader", Column::Word),
        ("version", Column::Word),
        ("notes", Column::Text),
    ])
    .least_first(&["version", "notes"]);
    for it in asked {
        let (address, role) = (it.address.clone(), role(it).to_owned());
        table.row(match &it.answer {
            Ok(Answer { info, is_ready }) => [
                info.node_id.clone(),
                address,
                role,
                match is_ready {
                    Some(true) => "yes".to_owned(),
                    Some(false) => "no".to_owned(),
                    None => String::new(),
                },
                info.leader.as_ref().map_or_else(|| "nobody".to_owned(), of),
                info.version.clone(),
                String::new(),
            ],
            Err(problem) => {
                let none = String::new;
                let problem = problem.to_string();
                [none(), address, role, none(), none(), none(), problem]
            }
        });
    }
    table
}

/// What a node says, with where it was asked, and what came of that.
fn as_json(asked: &Asked) -> Value {
    let mut object = json!({ "address": asked.address, "role": role(asked) });
    match &asked.answer {
        Ok(Answer { info, is_ready }) => {
            object["ready"] = json!(is_ready);
            object["info"] = json::value(info);
        }
        Err(problem) => object["problem"] = problem.to_string().into(),
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(node_id: &str, term: u64) -> Leader {
        Leader {
            node_id: node_id.to_owned(),
            term,
            api_url: format!("http://{node_id}:50051"),
            state: TermState::Serving.into(),
            ..Leader::default()
        }
    }

    /// One that leads in this term, or stands by, and believes in this leader.
    fn node(node_id: &str, term: u64, leader: Option<Leader>) -> Asked {
        let info = GetServerInfoResponse {
            node_id: node_id.to_owned(),
            epoch: if term > 0 { "1f" } else { "" }.to_owned(),
            term,
            leader,
            ..GetServerInfoResponse::default()
        };
        Asked {
            address: format!("{node_id}:50051"),
            answer: Ok(Answer {
                info,
                is_ready: Some(true),
            }),
        }
    }

    fn away(node_id: &str) -> Asked {
        Asked {
            address: format!("{node_id}:50051"),
            answer: Err(Failure::Late),
        }
    }

    #[test]
    fn one_leads_and_no_more() {
        let a = || node("a", 7, Some(leader("a", 7)));
        let b = || node("b", 0, Some(leader("a", 7)));
        let alone = || node("a", 7, Some(Leader::default()));
        for (nodes, told) in [
            (vec![a(), b(), away("c")], None),
            (vec![alone()], None),
            (vec![a(), node("b", 8, Some(leader("b", 8)))], Some("a, b")),
            (vec![b()], Some("a in term 7 is said to lead")),
            (vec![node("b", 0, None), away("a")], Some("no node leads")),
        ] {
            let judged = judge(nodes).map_err(|it| (it.exit_code(), it.to_string()));
            match told {
                None => assert_eq!(judged, Ok(())),
                Some(told) => {
                    let (code, said) = judged.expect_err(told);
                    assert!(code == 8 && said.contains(told), "{code}: {said}");
                }
            }
        }
        let nobody = judge(vec![away("a"), away("b")]).expect_err("nobody answers");
        assert_eq!(nobody.exit_code(), 3);
    }

    #[test]
    fn the_leader_that_is_named_is_asked_unless_it_has_answered() {
        let b = || node("b", 0, Some(leader("a", 7)));
        assert_eq!(unasked(&[b(), node("c", 0, None)]), ["http://a:50051"]);
        assert_eq!(unasked(&[b(), away("a")]), [""; 0]);
        // Where it was asked it has another name.
        let mut a = node("a", 7, Some(leader("a", 7)));
        a.address = "127.0.0.1:50051".to_owned();
        assert_eq!(unasked(&[b(), a]), [""; 0]);
        // It was another term.
        let mut former = node("a", 6, Some(leader("a", 6)));
        former.address = "127.0.0.1:50051".to_owned();
        assert_eq!(unasked(&[b(), former]), ["http://a:50051"]);
    }
}

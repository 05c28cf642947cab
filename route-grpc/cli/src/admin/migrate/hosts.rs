//! Links of one name from several hosts: a MsgServer may have been sent to the port of another one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use route_proto::admin::v1alpha1::{GetLinkRequest, GetLinkResponse, Link};
use tonic::Code;

use crate::admin::{AdminArgs, Client};
use crate::failure::Failure;

/// Of each name whose links may be of two MsgServers, what is said of it. Two links of one MsgServer hold
/// the same users; if they hold none, or others, nobody knows that they are of one.
pub(super) async fn doubts(
    admin: &AdminArgs,
    client: &mut Client,
    links: &[Link],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut doubts = BTreeMap::new();
    for (first, others) in of_several_hosts(links) {
        let request = GetLinkRequest {
            link: first.link.clone(),
            include_figures: false,
        };
        let found = match client.get_link(admin.request(request)).await {
            Ok(found) => found.into_inner(),
            // It has closed meanwhile.
            Err(status) if status.code() == Code::NotFound => GetLinkResponse::default(),
            Err(status) => return Err(status.into()),
        };
        if let Some(other) = others.iter().find(|other| !are_alike(first, other, &found))
            && let Some((host, other)) = host(first).zip(host(other))
        {
            let note = format!("links from {host} and {other}: one MsgServer?");
            doubts.insert(first.msg_server.clone(), note);
        }
    }
    Ok(doubts)
}

/// Of each name a link, if it can be one that has claimed, and those from other hosts. A link without a
/// list says nothing here.
fn of_several_hosts(links: &[Link]) -> Vec<(&Link, Vec<&Link>)> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for link in links.iter().filter(|it| it.is_named && it.is_listed) {
        names.entry(&link.msg_server).or_default().push(link);
    }
    let several = names.into_values().filter_map(|links| {
        let first = *links.iter().max_by_key(|it| it.is_claimed)?;
        let mut others = links;
        others.retain(|it| host(it) != host(first));
        (!others.is_empty()).then_some((first, others))
    });
    several.collect()
}

/// They share at least half of what either holds.
fn are_alike(first: &Link, other: &Link, found: &GetLinkResponse) -> bool {
    let related = found.related_links.iter();
    let shared = related
        .filter(|it| it.link == other.link)
        .map(|it| it.shared_session_count);
    let most = first.session_count.max(other.session_count);
    shared
        .max()
        .is_some_and(|it| it > 0 && u64::from(it) * 2 >= u64::from(most))
}

fn host(link: &Link) -> Option<IpAddr> {
    let peer = link.peer.parse::<SocketAddr>().ok()?;
    Some(peer.ip().to_canonical())
}

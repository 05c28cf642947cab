//! `route-grpc online`, `route-grpc count`: who is not offline, and how many they are.

use clap::Args;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{
    ClientClass, CountOnlineUsersRequest, CountOnlineUsersResponse, ListOnlineUsersRequest,
    PresenceStatus,
};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::names::Named;
use crate::table::{Column, Table};
use crate::{json, show, status};

/// Users that are asked for at a time.
const PAGE: u32 = 1000;

/// Flags of `online`.
#[derive(Debug, Args)]
pub(crate) struct OnlineArgs {
    /// Only users with a client of this class
    #[arg(long, value_name = "CLASS", value_parser = class())]
    class: Option<ClientClass>,
    /// Only users of this status
    #[arg(long, value_name = "STATUS", value_parser = presence())]
    status: Option<PresenceStatus>,
    /// Only users with a client on this MsgServer: its name, or its address without the port
    #[arg(long, value_name = "NAME|ADDR")]
    msg_server: Option<String>,
    /// Show so many at most; then say that there are more
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Flags of `count`.
#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    #[command(flatten)]
    client: ClientArgs,
}

fn class() -> Named<ClientClass> {
    Named::all("CLIENT_CLASS_", ClientClass::as_str_name)
}

/// Those of whom the node has a list.
fn presence() -> Named<PresenceStatus> {
    let all = Named::all("PRESENCE_STATUS_", PresenceStatus::as_str_name);
    all.only(|it| matches!(it, PresenceStatus::Online | PresenceStatus::Away))
}

/// Shows all of them, in the order of their ids: as a table, or an object each as pages come.
pub(crate) async fn run(args: OnlineArgs) -> Result<(), Failure> {
    let mut presence = PresenceServiceClient::new(args.client.connect().await?)
        .max_decoding_message_size(usize::MAX);
    let mut asked = ListOnlineUsersRequest {
        status: args.status.unwrap_or_default().into(),
        client_class: args.class.unwrap_or_default().into(),
        msg_server: args.msg_server.clone().unwrap_or_default(),
        include_sessions: true,
        ..ListOnlineUsersRequest::default()
    };
    let mut left = args.limit.unwrap_or(u32::MAX);
    let mut users = Vec::new();
    loop {
        asked.page_size = left.min(PAGE).cast_signed();
        let request = args.client.request(asked.clone());
        let page = presence.list_online_users(request).await?.into_inner();
        left -= u32::try_from(page.users.len()).unwrap_or(left).min(left);
        match args.client.json {
            true => {
                let mut lines = page.users.iter().map(json::line);
                lines.try_for_each(|line| show::line(&line))?;
            }
            false => users.extend(page.users),
        }
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() || left == 0 {
            break;
        }
    }
    if !args.client.json {
        status::table(&users).print()?;
        if let Some(msg_server) = args.msg_server.filter(|_| users.is_empty()) {
            show::no_such_server(&msg_server)?;
        }
        if !asked.page_token.is_empty() {
            show::line("-- there may be more: --limit")?;
        }
    }
    Ok(())
}

/// Shows how many they are, by class.
pub(crate) async fn count(args: CountArgs) -> Result<(), Failure> {
    let mut presence = PresenceServiceClient::new(args.client.connect().await?);
    let request = args.client.request(CountOnlineUsersRequest::default());
    let counted = presence.count_online_users(request).await?.into_inner();
    match args.client.json {
        true => show::line(&json::line(&counted)),
        false => numbers(&counted).print(),
    }
}

fn numbers(counted: &CountOnlineUsersResponse) -> Table {
    let mut table = Table::new(&[
        ("users", Column::Word),
        ("online", Column::Number),
        ("away", Column::Number),
    ]);
    for (name, count) in [
        ("all", counted.all),
        ("with a desktop client", counted.with_desktop),
        ("with a mobile client", counted.with_mobile),
        ("with both", counted.with_both),
    ] {
        let count = count.unwrap_or_default();
        table.row([
            name.to_owned(),
            count.online_count.to_string(),
            count.away_count.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use route_proto::v1::UserCount;

    use super::*;

    #[test]
    fn counts_are_a_table_by_class() {
        let count = |online_count, away_count| {
            Some(UserCount {
                online_count,
                away_count,
            })
        };
        let counted = CountOnlineUsersResponse {
            all: count(12, 3),
            with_mobile: count(3, 3),
            ..CountOnlineUsersResponse::default()
        };

        assert_eq!(
            numbers(&counted).lines(None),
            [
                "USERS                  ONLINE  AWAY",
                "all                        12     3",
                "with a desktop client       0     0",
                "with a mobile client        3     3",
                "with both                   0     0",
            ]
        );
    }
}

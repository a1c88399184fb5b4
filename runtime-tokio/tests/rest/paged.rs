//! Lists in pages, as services have them.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Response, header};
use serde_json::json;

use crate::service::{Answer, Asked, Config, Service, json_body, stamped};

/// How many configs a page has, unless it is said.
const PAGE: usize = 3;

/// The configs after the first so many, and whether there are more.
fn part(service: &Service, skip: usize, limit: usize) -> (Vec<Config>, bool) {
    let table = service.table();
    let rest: Vec<_> = table.configs.values().skip(skip).cloned().collect();
    let more = rest.len() > limit;
    (rest.into_iter().take(limit).collect(), more)
}

fn number(asked: &Asked, name: &str, otherwise: usize) -> usize {
    asked
        .0
        .get(name)
        .map_or(otherwise, |text| text.parse().unwrap())
}

/// An object around the array, with a token for what comes next. The token names the last one that
/// was shown, so what is created meanwhile moves nothing from one page to another.
pub(crate) async fn by_token(State(service): State<Service>, asked: Asked) -> Answer {
    let limit = number(&asked, "max", PAGE);
    let Query(asked) = asked;
    let after = asked.get("after").map_or("", String::as_str);
    let table = service.table();
    let rest = table
        .configs
        .range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
    let shown: Vec<_> = rest.map(|(_, config)| config).take(limit + 1).collect();
    let next = match shown.get(limit) {
        Some(_) => json!(shown[limit - 1].id),
        None => json!(""),
    };
    let shown = &shown[..shown.len().min(limit)];
    let page = json!({"data": {"configs": shown}, "meta": {"next": next, "at": table.revision}});
    json_body(stamped(&table), &page)
}

pub(crate) async fn by_number(State(service): State<Service>, asked: Asked) -> Answer {
    let page = number(&asked, "page", 1);
    let (configs, _) = part(&service, (page - 1) * PAGE, PAGE);
    json_body(Response::builder(), &json!(configs))
}

pub(crate) async fn by_link(State(service): State<Service>, asked: Asked) -> Answer {
    let skip = number(&asked, "skip", 0);
    let (configs, more) = part(&service, skip, PAGE);
    let mut answer = Response::builder();
    if more {
        let next = skip + PAGE;
        let link =
            format!("</by-link?skip=0>; rel=\"first\", </by-link?skip={next}>; rel=\"next\"");
        answer = answer.header(header::LINK, link);
    }
    let json = json!(configs).to_string();
    answer
        .header(header::CONTENT_TYPE, "application/hal+json")
        .body(Body::from(json))
        .unwrap()
}

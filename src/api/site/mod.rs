//! The pages, and what machines read beside them: who is signed in, which page a path is, and the headers that pages have.
//!
//! What always holds: a page shows what the planner, the account, the health and the catalogue say, by way of the same
//! functions as the API; nothing is changed but by a POST from this site's own pages.

mod cache;
mod json;
mod presenter;
mod prices;
mod status;

use std::net::IpAddr;

use super::cookie;
use super::request::Request;
use super::secured::with_allow;
use super::table::{SitePage, nothing_here};
use crate::app::availability::{Snapshot, Viewer};
use crate::app::models;
use crate::app::session::{self, OpenSession};
use crate::body::Arriving;
use crate::catalog::Catalog;
use crate::limits::Gate;
use crate::pages::view::{ErrorPage, LoginPage, ModelPage, ModelsPage, PageContext, SignedInView};
use crate::pages::{ModelFilter, feed, frame, llms, site, sitemap};
use crate::ports::{Kept, Records};
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, ReplyBody, gate};
use cache::{cached, set_cache_control};
use presenter::{Presenter, home};

/// A form with a key is no longer than this.
const LONGEST_FORM: usize = 4_096;

/// Answers a request of the site. `name` is the model's, where the path names one.
pub async fn answer<P: Records, B: Arriving>(ports: &P, request: Request<B>, path: &str, at: (SitePage, &str)) -> Reply {
    let mut visitor = Visitor::of(ports, &request, path).await;
    let answered = match at.0 {
        SitePage::SignIn => sign_in(ports, &visitor, request).await,
        SitePage::SignOut => sign_out(ports, &visitor, request).await,
        _ => page(ports, &mut visitor, at, &request).await,
    };
    answered.unwrap_or_else(|refusal| {
        if let Some(detail) = &refusal.detail {
            ports.log(&format!("page: {detail}"));
        }
        error(&visitor, &refusal)
    })
}

/// The page for people at an address that does not answer them.
pub async fn refused<P: Records, B>(ports: &P, request: &Request<B>, path: &str, refusal: &Refusal) -> Reply {
    error(&Visitor::of(ports, request, path).await, refusal)
}

fn error(visitor: &Visitor, refusal: &Refusal) -> Reply {
    let page = ErrorPage { status: refusal.status(), message: Some(refusal.told()), request_id: None };
    let reply = with_allow(html(visitor, refusal.status(), site::error::error(&visitor.site, &page)), refusal);
    match refusal.retry_after_s {
        Some(seconds) => reply.header("retry-after", seconds.to_string()),
        None => reply,
    }
}

/// A page. One that everybody gets alike and that is work to make is kept for some seconds under its exact name; whoever asks
/// for what is not kept is counted.
async fn page<P: Records, B>(
    ports: &P,
    visitor: &mut Visitor,
    at: (SitePage, &str),
    request: &Request<B>,
) -> Result<Reply, Refusal> {
    let is_cheap = matches!(at.0, SitePage::Robots | SitePage::Login | SitePage::Sitemap);
    if is_cheap {
        return read(ports, visitor, at, request).await;
    }
    // Whose account does not answer sees what everybody sees.
    if let Some(refusal) = visitor.refused.take().filter(|refusal| refusal.code == Code::RateLimitExceeded) {
        return Err(refusal);
    }
    if visitor.signed_in.is_some() {
        return read(ports, visitor, at, request).await;
    }
    let catalog = ports.catalog().await?;
    let address = exact(&catalog, at, visitor, request);
    if let Some((path, _)) = &address {
        visitor.site.path.clone_from(path);
    }
    let site = &visitor.site;
    let address = address.map(|(path, rest)| format!("{} {} {path} {rest}", site.origin, site.can_sign_in));
    if let Some(Kept { headers, body }) = address.as_ref().and_then(|address| ports.kept_page(address)) {
        return Ok(Reply { headers, ..Reply::full(200, "", body) });
    }
    gate::pass(ports, Gate::Page, &gate::by_address(visitor.address)).await?;
    let reply = read(ports, visitor, at, request).await?;
    if let (Some(address), 200, ReplyBody::Full(body)) = (address, reply.status, &reply.body) {
        ports.keep_page(address, Kept { headers: reply.headers.clone(), body: body.clone() });
    }
    Ok(reply)
}

/// The path of a page and what else tells it apart, however it was asked for; none where there are as many as anybody can
/// think of.
fn exact<B>(
    catalog: &Catalog,
    (page, name): (SitePage, &str),
    visitor: &Visitor,
    request: &Request<B>,
) -> Option<(String, String)> {
    let of_model = || models::found(catalog, name).ok().map(|model| ["/models/", model.id.as_str()].concat());
    Some(match page {
        SitePage::Model => (of_model()?, String::new()),
        SitePage::ModelJson => (format!("{}.json", of_model()?), String::new()),
        SitePage::Models => {
            let filter = filter(request);
            let is_family = filter.family.is_empty() || catalog.models.values().any(|model| model.family == filter.family);
            let is_one_of_few = filter.q.is_empty() && filter.max_price.is_empty() && is_family;
            is_one_of_few.then(|| (visitor.site.path.clone(), format!("{filter:?}")))?
        }
        _ => (visitor.site.path.clone(), String::new()),
    })
}

fn filter<B>(request: &Request<B>) -> ModelFilter {
    ModelFilter::read(request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Who looks at a page.
struct Visitor {
    site: PageContext,
    signed_in: Option<OpenSession>,
    /// Why what is shown of an account is not read now.
    refused: Option<Refusal>,
    address: Option<IpAddr>,
}

impl Visitor {
    async fn of<P: Records, B>(ports: &P, request: &Request<B>, path: &str) -> Self {
        let secret = session::secret(ports).ok();
        let token = secret.as_deref().zip(request.cookies.as_deref());
        let token = token.and_then(|(secret, cookies)| cookie::read(secret, cookies, &request.origin, ports.now()));
        let address = request.head.address;
        let (signed_in, refused) = match token {
            Some(token) => session::current(ports, token, address)
                .await
                .map_or_else(|refusal| (None, Some(refusal)), |signed_in| (signed_in, None)),
            None => (None, None),
        };
        let session = signed_in
            .as_ref()
            .map(|OpenSession { key, .. }| SignedInView { key_label: key.label.clone(), account: key.account.to_string() });
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        let site = PageContext { origin: request.origin.clone(), path, now: ports.now(), session, can_sign_in: secret.is_some() };
        Self { site, signed_in, refused, address }
    }

    fn viewer(&self) -> Viewer<'_> {
        self.signed_in.as_ref().map_or(Viewer::Anyone, |signed_in| Viewer::Key(&signed_in.key, self.address))
    }
}

async fn read<P: Records, B>(
    ports: &P,
    visitor: &Visitor,
    (page, name): (SitePage, &str),
    request: &Request<B>,
) -> Result<Reply, Refusal> {
    let site = &visitor.site;
    Ok(match page {
        SitePage::Robots => {
            cached("text/plain; charset=utf-8", format!("User-agent: *\nAllow: /\nSitemap: {}/sitemap.xml\n", site.origin), 3_600)
        }
        SitePage::Login => {
            if let Err(why) = session::secret(ports) {
                ports.log(&format!("signing in is off: SESSION_SECRET {why}"));
            }
            html(visitor, 200, site::login::login(site, &login_page(None)))
        }
        SitePage::Home => {
            let presenter = Presenter::new(ports, visitor.viewer()).await?;
            html(visitor, 200, site::home::home(site, &home(&presenter)))
        }
        SitePage::Models => {
            let presenter = Presenter::new(ports, visitor.viewer()).await?;
            let all: Vec<_> = presenter.models();
            let filter = filter(request);
            let mut families: Vec<String> = all.iter().map(|model| model.family.clone()).collect();
            families.sort();
            families.dedup();
            let (total, models) = (all.len(), filter.apply(all));
            html(visitor, 200, site::models::models(site, &ModelsPage { filter, families, total, models }))
        }
        SitePage::Model => {
            let presenter = Presenter::new(ports, visitor.viewer()).await?;
            let (model, versions) = presenter.whole(ports, name).await?;
            html(visitor, 200, site::model::model(site, &ModelPage { model, versions }))
        }
        SitePage::Status => {
            let snapshot = Snapshot::take(ports).await?;
            html(visitor, 200, site::status::status(site, &status::page(ports, &snapshot).await))
        }
        SitePage::Feed => {
            let snapshot = Snapshot::take(ports).await?;
            let page = status::page(ports, &snapshot).await;
            let incidents: Vec<_> = page.current.iter().chain(&page.past).collect();
            cached("application/atom+xml; charset=utf-8", feed::incidents(site, &incidents), 30)
        }
        SitePage::Sitemap => {
            let snapshot = Snapshot::take(ports).await?;
            let ids: Vec<String> = snapshot.catalog.models.keys().map(ToString::to_string).collect();
            cached("application/xml; charset=utf-8", sitemap::sitemap(site, &ids), 300)
        }
        SitePage::Llms => {
            let presenter = Presenter::new(ports, Viewer::Anyone).await?;
            cached("text/plain; charset=utf-8", llms::llms(site, &presenter.models()), 30)
        }
        SitePage::ModelsJson => json::models(ports, &visitor.viewer()).await?,
        SitePage::ModelJson => json::model(ports, &visitor.viewer(), name).await?,
        SitePage::StatusJson => json::status(ports).await?,
        SitePage::SignIn | SitePage::SignOut => return Err(nothing_here()),
    })
}

/// A page. What everybody gets may be kept for a moment; what is about a key may not.
fn html(visitor: &Visitor, status: u16, text: String) -> Reply {
    let mut reply = Reply::full(status, "text/html; charset=utf-8", text.into_bytes());
    if visitor.signed_in.is_none() && status == 200 && visitor.site.path != "/login" {
        set_cache_control(&mut reply, "public, max-age=10");
        reply = reply.header("vary", "cookie");
    }
    reply
        .header("content-security-policy", frame::CSP)
        .header("referrer-policy", "same-origin")
        .header("x-frame-options", "DENY")
        .header("cross-origin-opener-policy", "same-origin")
}

fn redirect(to: &'static str, cookie: Option<String>) -> Reply {
    let reply = Reply::full(303, "text/plain; charset=utf-8", Vec::new()).header("location", to);
    match cookie {
        Some(cookie) => reply.header("set-cookie", cookie),
        None => reply,
    }
}

fn login_page(error: Option<String>) -> LoginPage {
    LoginPage {
        error,
        cookie_holds: "The cookie holds a hash of the key, signed, and not the key itself: nobody can call a model with it."
            .to_owned(),
        cookie_ends: format!(
            "It ends after {} hours, when you sign out, here or everywhere, or when the key is revoked.",
            session::LIFETIME_S / 3600
        ),
    }
}

/// Whether a form was sent from one of our own pages.
fn own<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.from.as_deref() == Some(request.origin.as_str()) {
        return Ok(());
    }
    let message = "This form was not sent from this site.";
    Err(Refusal::new(Code::Forbidden, message, "Open the page of this site and send the form from there."))
}

/// Ends the session where it counts, in the account; with `all` every session of its key. The cookie goes with it.
async fn sign_out<P: Records, B: Arriving>(ports: &P, visitor: &Visitor, request: Request<B>) -> Result<Reply, Refusal> {
    own(&request)?;
    // A session that cannot be ended now keeps its cookie: without it, it could never be ended.
    if let Some(refusal) = &visitor.refused {
        return Err(refusal.clone());
    }
    if let Some(signed_in) = &visitor.signed_in {
        let body = request.body.await?;
        let is_all = form(&body).any(|(name, value)| name == "all" && value == "1");
        session::sign_out(ports, signed_in, is_all).await?;
    }
    Ok(redirect("/", Some(cookie::ended(&request.origin))))
}

/// The fields of a form.
fn form(body: &[u8]) -> url::form_urlencoded::Parse<'_> {
    url::form_urlencoded::parse(body.get(..LONGEST_FORM).unwrap_or(body))
}

/// Starts a session for a key that works.
async fn sign_in<P: Records, B: Arriving>(ports: &P, visitor: &Visitor, request: Request<B>) -> Result<Reply, Refusal> {
    own(&request)?;
    let Ok(secret) = session::secret(ports) else {
        return Ok(html(visitor, 403, site::login::login(&visitor.site, &login_page(None))));
    };
    let body = request.body.await?;
    let pasted = form(&body).find(|(name, _)| name == "key");
    let pasted = pasted.map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    match session::sign_in(ports, &pasted, visitor.address).await? {
        Some(token) => Ok(redirect("/models", Some(cookie::begun(&secret, &token, &request.origin)))),
        None => {
            let error = "This key is not known here, was revoked, has expired, or may not be used from this address.";
            Ok(html(visitor, 401, site::login::login(&visitor.site, &login_page(Some(error.to_owned())))))
        }
    }
}

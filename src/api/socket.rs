//! Where a WebSocket can be opened, and by whom.
//!
//! What always holds: nothing is accepted for who has no valid key, and what says no is the same answer as over HTTP.

use super::request::Request;
use super::secured::{secured, with_allow};
use super::table;
use crate::dialect::Endpoint;
use crate::id::{AccountId, RequestId};
use crate::limits::Pool;
use crate::ports::Ports;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, RequestHead, check_place, known_key, presented, refusal_reply};

/// Whether a path answers clients that want a WebSocket.
pub fn is_socket<B>(request: &Request<B>) -> bool {
    let is_socket = |row: &table::Row| row.handler == table::Handler::Socket;
    table::at(&table::named(&request.path)).any(|row| is_socket(row) && row.method == request.method)
}

/// The head that counts for each request of the connection, and whose it is; an error is the answer in place of one.
pub async fn admit<P: Ports, B>(ports: &P, mut request: Request<B>) -> Result<(RequestHead, AccountId), Box<Reply>> {
    request.head.site = request.foreign();
    let id = RequestId::new(ports.now(), ports.random());
    match checked(ports, &request.head).await {
        Ok(account) => Ok((request.head, account)),
        Err(refusal) => {
            if let Some(detail) = &refusal.detail {
                ports.log(&format!("{id}: {detail}"));
            }
            let reply = refusal_reply(&refusal, &id, false, Endpoint::Responses.dialect());
            Err(Box::new(secured(with_allow(reply, &refusal), &request.origin)))
        }
    }
}

/// The answer to who has as many connections as one account may have.
pub fn too_many<P: Ports>(ports: &P) -> Reply {
    let (_, most) = Pool::Sockets.most();
    let message = format!("This account has {most} WebSockets open, or the gateway has as many as it can hold.");
    let next_step = "Close one, or send the request over HTTP.";
    let refusal = Refusal::new(Code::RateLimitExceeded, message, next_step).limit("account").retry_after(10);
    refusal_reply(&refusal, &RequestId::new(ports.now(), ports.random()), false, Endpoint::Responses.dialect())
}

/// What is checked before a connection; each of its requests is checked again, with the key as it is then.
async fn checked<P: Ports>(ports: &P, head: &RequestHead) -> Result<AccountId, Refusal> {
    let hash = presented(head)?;
    let key = known_key(ports, (&hash, head.address), ports.now()).await?;
    check_place(ports, head, &key).await?;
    Ok(key.account)
}

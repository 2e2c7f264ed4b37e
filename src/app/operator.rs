//! Who administers: by the root token of the deployment, the one that is to replace it, or a token of its own.
//!
//! What always holds: without a strong root token there is no administration; nothing is looked up for what can be no token; every
//! failure is counted. The root token works whoever guesses beside it; the others rest with the address of who guesses.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::limits::Gate;
use crate::operator::{AdminFailure, Operator, TokenSecret, weakness};
use crate::ports::{Failures, Gates, Runtime, Settings, Tokens};
use crate::refusal::{Code, Refusal};
use crate::relay::{RequestHead, gate};

/// The root token, and the one that is to replace it: while both are set, both work.
pub const ROOTS: [&str; 2] = ["ADMIN_TOKEN", "ADMIN_TOKEN_NEXT"];

/// Who sends a request, by the token that it presents. None where no root token is set: nothing tells that there could be
/// administration.
pub async fn authenticated<P: Runtime + Gates + Settings + Tokens + Failures>(
    ports: &P,
    head: &RequestHead,
) -> Result<Option<Operator>, Refusal> {
    let Some(roots) = roots(ports)? else { return Ok(None) };
    let presented = head.credential.as_deref().map(str::trim).unwrap_or_default();
    if roots.iter().any(|root| is_equal(root, presented)) {
        return Ok(Some(Operator::root()));
    }
    let guesser = format!("operator {}", gate::by_address(head.address));
    let failure = match TokenSecret::parse(presented) {
        None if presented.is_empty() => AdminFailure::Absent,
        None => AdminFailure::Malformed,
        Some(secret) => {
            if let Err(refusal) = gate::open(ports, Gate::Guess, &guesser) {
                ports.note_attempt(head.address, AdminFailure::Unknown);
                return Err(refusal);
            }
            match ports.token(&secret.hash()).await? {
                None => AdminFailure::Unknown,
                Some(token) if !token.works(ports.now()) => AdminFailure::Ended,
                Some(token) => {
                    ports.note_token_used(&token);
                    return Ok(Some(Operator::of(&token)));
                }
            }
        }
    };
    ports.note_attempt(head.address, failure);
    // Who presents nothing guesses nothing.
    match failure {
        AdminFailure::Absent => Err(refused(failure)),
        _ => Err(gate::missed(ports, Gate::Guess, &guesser, refused(failure)).await),
    }
}

/// The root tokens that count: those that are not weak; none where none is set.
fn roots<P: Runtime + Settings>(ports: &P) -> Result<Option<Vec<String>>, Refusal> {
    let set = ROOTS.into_iter().filter_map(|name| Some((name, ports.setting(name)?.trim().to_owned())));
    let (mut strong, mut weak) = (Vec::new(), Vec::new());
    for (name, root) in set {
        match weakness(&root) {
            None => strong.push(root),
            Some(why) => weak.push(format!("{name} {why}")),
        }
    }
    if !weak.is_empty() {
        ports.log(&format!("administration: {}; it does not count", weak.join(", ")));
    }
    match (strong.is_empty(), weak.first()) {
        (false, _) => Ok(Some(strong)),
        (true, None) => Ok(None),
        (true, Some(why)) => {
            let message = format!("Administration is off: {why}, and could be guessed.");
            let next_step = "Set another with `npx wrangler secret put ADMIN_TOKEN`, such as what `openssl rand -hex 32` prints.";
            Err(Refusal::new(Code::Forbidden, message, next_step))
        }
    }
}

/// Hashes are of equal length, so that the comparison tells nothing, not even a length.
fn is_equal(ours: &str, theirs: &str) -> bool {
    let (theirs, ours) = (Sha256::digest(theirs.as_bytes()), Sha256::digest(ours.as_bytes()));
    theirs.as_slice().ct_eq(ours.as_slice()).into()
}

fn refused(failure: AdminFailure) -> Refusal {
    let (message, next_step) = match failure {
        AdminFailure::Ended => ("This token has expired or was revoked.", "Ask who administers tokens for another."),
        _ => {
            ("This is not an operator's token.", "Send `Authorization: Bearer <token>`, with ADMIN_TOKEN or a token of your own.")
        }
    };
    Refusal::new(Code::InvalidAdminToken, message, next_step)
}

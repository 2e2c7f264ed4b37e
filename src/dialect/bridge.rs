//! What an answer of another dialect needs on its way to the client: the names that the client gave its tools, and the marks by
//! which the gateway knows whose thoughts come back.
//!
//! What always holds: a plain answer and a stream of the same say the same; arguments of a free text come at its end, because
//! they are no JSON for the client.

use std::collections::BTreeMap;

use super::conversation::{Answer, Delta, Form, Part, Thinking, ToolKind};
use super::fit::{Rules, ToolNames, free_text, id_for};
use super::format::{Reader, Translation};
use super::maker::{Maker, Marks, token};
use super::proof::carried;
use super::sse::Data;
use super::stream_state::StreamState;

/// Thoughts beyond this are not remembered for the call behind them, in bytes.
const MOST_REMEMBERED: usize = 64 * 1024;
/// Free text beyond this is given to the client as it came, in bytes.
const MOST_HELD: usize = 4 * 1024 * 1024;

/// From the answer of a channel to what the client gets.
#[derive(Debug, Clone)]
pub struct Bridge {
    names: ToolNames,
    maker: Maker,
    marks: Marks,
    /// What the client's format demands of ids: it sends them to another provider one day.
    rules: Rules,
    choices: BTreeMap<u32, State>,
}

/// What is known of one choice of a stream.
#[derive(Debug, Clone, Default)]
struct State {
    /// Whether words of a thought came that has no proof yet.
    is_thinking: bool,
    thoughts: Vec<Thinking>,
    remembered: usize,
    /// Free texts that are still coming, by the number of their call.
    held: BTreeMap<u32, String>,
}

impl Bridge {
    /// For an answer that `maker` makes, to a client of this format whose tools had these names.
    pub fn new(names: ToolNames, maker: Maker, client: &dyn Translation) -> Self {
        Self { names, maker, marks: client.marks(), rules: client.rules(), choices: BTreeMap::new() }
    }

    /// Whether proofs of the maker are the client's own dialect's, which need no mark.
    const fn is_at_home(&self) -> bool {
        matches!((self.marks, &self.maker), (Marks::InProof, Maker::Anthropic) | (Marks::WithCalls, Maker::Gemini))
    }

    /// Whether the proof of a call goes to the client as that of the thought before it: its dialect has no place for it at the
    /// call, or its programs forget it there.
    const fn proves_by_thought(&self) -> bool {
        match self.marks {
            Marks::Beside => true,
            // Who did not ask for thoughts expects none.
            Marks::InProof => self.names.is_thinking,
            Marks::Words | Marks::WithCalls => false,
        }
    }

    /// Moves the proofs of calls to the thoughts before them.
    fn prove_by_thought(parts: &mut Vec<Part<'static>>) {
        let mut at = 0;
        while let Some(part) = parts.get_mut(at) {
            let proof = match part {
                Part::Call(call) => call.signature.take(),
                _ => None,
            };
            let before = at.checked_sub(1).and_then(|before| parts.get_mut(before));
            match (proof, before) {
                (None, _) => {}
                (proof, Some(Part::Thinking(thinking))) if !thinking.is_proven() => thinking.signature = proof,
                (proof, _) => {
                    parts.insert(at, Part::Thinking(Thinking { signature: proof, ..Thinking::default() }));
                    at = at.saturating_add(1);
                }
            }
            at = at.saturating_add(1);
        }
    }

    /// A whole answer.
    pub fn answer(&self, mut answer: Answer) -> Answer {
        for choice in &mut answer.choices {
            if self.proves_by_thought() {
                Self::prove_by_thought(&mut choice.parts);
            }
            let mut thoughts = Vec::new();
            for part in &mut choice.parts {
                match part {
                    Part::Thinking(thinking) => {
                        thoughts.push(thinking.clone());
                        self.mark(thinking);
                    }
                    Part::Call(call) => {
                        call.id = id_for(&call.id, &self.rules);
                        if let Some((name, form)) = self.names.client(&call.name).cloned() {
                            if form.kind == ToolKind::Custom {
                                call.arguments = free_text(&call.arguments);
                            }
                            (call.name, call.form) = (name, form);
                        }
                        if self.marks == Marks::WithCalls && !self.is_at_home() {
                            call.signature = carried(&self.maker, &std::mem::take(&mut thoughts));
                        }
                    }
                    _ => {}
                }
            }
        }
        answer
    }

    fn mark(&self, thinking: &mut Thinking) {
        if self.is_at_home() {
            return;
        }
        match self.marks {
            Marks::InProof => {
                for proof in [&mut thinking.signature, &mut thinking.redacted].into_iter().flatten() {
                    *proof = token(&self.maker, proof);
                }
                if !thinking.is_proven() {
                    thinking.signature = Some(token(&self.maker, ""));
                }
            }
            Marks::Beside if !thinking.is_proven() => thinking.signature = Some(token(&self.maker, "")),
            Marks::WithCalls => (thinking.signature, thinking.redacted) = (None, None),
            Marks::Beside | Marks::Words => {}
        }
    }

    /// What an event added, for the client.
    pub fn deltas(&mut self, deltas: Vec<Delta>) -> Vec<Delta> {
        let mut out = Vec::with_capacity(deltas.len());
        for delta in deltas {
            self.delta(delta, &mut out);
        }
        out
    }

    fn delta(&mut self, delta: Delta, out: &mut Vec<Delta>) {
        let Some(choice) = delta.choice() else { return out.push(delta) };
        let mut state = self.choices.remove(&choice).unwrap_or_default();
        match delta {
            Delta::Thinking { text, .. } => {
                state.remember(&text, !self.is_at_home() && self.marks == Marks::WithCalls);
                out.push(Delta::Thinking { choice, text });
            }
            Delta::Signature { signature, .. } => self.proof(choice, &mut state, signature, false, out),
            Delta::Redacted { data, .. } => self.proof(choice, &mut state, data, true, out),
            Delta::Call { call, id, name, mut signature, .. } => {
                if let Some(proof) = signature.take_if(|_| self.proves_by_thought()) {
                    self.proof(choice, &mut state, proof, false, out);
                }
                self.thought_ends(choice, &mut state, out);
                let signature = match self.marks == Marks::WithCalls && !self.is_at_home() {
                    true => carried(&self.maker, &std::mem::take(&mut state.thoughts)),
                    false => signature,
                };
                let (name, form) = self.names.client(&name).cloned().unwrap_or((name, Form::default()));
                if form.kind == ToolKind::Custom {
                    state.held.insert(call, String::new());
                }
                if form != Form::default() {
                    out.push(Delta::Form { choice, call, form });
                }
                out.push(Delta::Call { choice, call, id: id_for(&id, &self.rules), name, signature });
            }
            Delta::Arguments { call, json, .. } => match state.held.get_mut(&call) {
                Some(held) if held.len().saturating_add(json.len()) <= MOST_HELD => held.push_str(&json),
                Some(_) => {
                    let held = state.held.remove(&call).unwrap_or_default();
                    out.push(Delta::Arguments { choice, call, json: held + &json });
                }
                None => out.push(Delta::Arguments { choice, call, json }),
            },
            Delta::Finish { finish, .. } => {
                self.thought_ends(choice, &mut state, out);
                for (call, held) in std::mem::take(&mut state.held) {
                    out.push(Delta::Arguments { choice, call, json: free_text(&held) });
                }
                out.push(Delta::Finish { choice, finish });
            }
            other => {
                self.thought_ends(choice, &mut state, out);
                out.push(other);
            }
        }
        self.choices.insert(choice, state);
    }

    /// A proof of the thought before it.
    fn proof(&self, choice: u32, state: &mut State, proof: String, is_redacted: bool, out: &mut Vec<Delta>) {
        if is_redacted {
            self.thought_ends(choice, state, out);
        }
        let of = |proof: String| match is_redacted {
            true => Delta::Redacted { choice, data: proof },
            false => Delta::Signature { choice, signature: proof },
        };
        state.is_thinking = false;
        match self.marks {
            _ if self.is_at_home() => out.push(of(proof)),
            Marks::InProof => out.push(of(token(&self.maker, &proof))),
            Marks::Beside | Marks::Words => out.push(of(proof)),
            Marks::WithCalls => state.prove(proof, is_redacted),
        }
    }

    /// Whoever made a thought without a proof is told in place of one, where the client would forget it otherwise.
    fn thought_ends(&self, choice: u32, state: &mut State, out: &mut Vec<Delta>) {
        if std::mem::take(&mut state.is_thinking) && !self.is_at_home() && matches!(self.marks, Marks::InProof | Marks::Beside) {
            out.push(Delta::Signature { choice, signature: token(&self.maker, "") });
        }
    }
}

impl State {
    fn remember(&mut self, text: &str, is_wanted: bool) {
        let is_more = std::mem::replace(&mut self.is_thinking, true);
        if !is_wanted || self.remembered.saturating_add(text.len()) > MOST_REMEMBERED {
            return;
        }
        self.remembered = self.remembered.saturating_add(text.len());
        match self.thoughts.last_mut().filter(|_| is_more) {
            Some(last) => last.text.push_str(text),
            None => self.thoughts.push(Thinking { text: text.to_owned(), ..Thinking::default() }),
        }
    }

    fn prove(&mut self, proof: String, is_redacted: bool) {
        self.remembered = self.remembered.saturating_add(proof.len());
        if self.remembered > MOST_REMEMBERED {
            return;
        }
        match self.thoughts.last_mut().filter(|last| !is_redacted && !last.is_proven()) {
            Some(last) => last.signature = Some(proof),
            None if is_redacted => self.thoughts.push(Thinking { redacted: Some(proof), ..Thinking::default() }),
            None => self.thoughts.push(Thinking { signature: Some(proof), ..Thinking::default() }),
        }
    }
}

/// A reader of a channel's stream, for this client.
pub struct Bridged {
    reader: Box<dyn Reader>,
    bridge: Bridge,
}

impl Bridged {
    /// Reads on behalf of a client.
    pub fn new(reader: Box<dyn Reader>, bridge: Bridge) -> Self {
        Self { reader, bridge }
    }

    fn cross(&mut self, own: Vec<Delta>, deltas: &mut Vec<Delta>) {
        if !own.is_empty() {
            deltas.append(&mut self.bridge.deltas(own));
        }
    }
}

impl Reader for Bridged {
    fn event(&mut self, event: &Data, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let mut own = Vec::new();
        self.reader.event(event, stream, &mut own);
        self.cross(own, deltas);
    }

    fn end(&mut self, stream: &mut StreamState, deltas: &mut Vec<Delta>) {
        let mut own = Vec::new();
        self.reader.end(stream, &mut own);
        self.cross(own, deltas);
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;

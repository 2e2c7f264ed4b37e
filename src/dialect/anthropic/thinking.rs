//! How the model of a channel is told to think, by what its client wishes.

use super::model::Abilities;
use super::said::{is_provable, said_by};
use crate::dialect::conversation::{Conversation, Effort, Message, Part, Reasoning, Role, ToolChoice};
use crate::dialect::format::Upstream;

/// The smallest budget that Anthropic takes.
const LEAST_BUDGET: u64 = 1_024;

/// How the model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Off,
    Budget(u64),
    Adaptive(Option<&'static str>),
}

/// How the model is told to think, and whether it is told nothing although that was wished.
pub fn thinking(conversation: &Conversation<'_>, abilities: &Abilities, upstream: &Upstream<'_>) -> (Option<Plan>, bool) {
    let Some(wish) = conversation.reasoning.as_ref().map(|wish| upstream.reasoning(wish)) else { return (None, false) };
    let Ok(thinking) = plan(&wish, abilities, upstream.output_limit) else { return (None, true) };
    let is_forced = matches!(conversation.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let is_asked = !matches!(thinking, None | Some(Plan::Off));
    let is_lost = matches!(thinking, Some(Plan::Budget(_))) && has_lost_thoughts(&conversation.messages);
    match is_asked && (is_forced && !conversation.tools.is_empty() || is_lost) {
        true => (None, true),
        false => (thinking, false),
    }
}

/// `max_tokens` is too small for any thought.
struct NoRoom;

fn plan(wish: &Reasoning, abilities: &Abilities, output_limit: u64) -> Result<Option<Plan>, NoRoom> {
    if wish.effort == Some(Effort::None) || wish.budget == Some(0) {
        return Ok(Some(Plan::Off));
    }
    let is_asked = wish.effort.is_some() || wish.budget.is_some() || wish.is_shown == Some(true);
    if abilities.is_adaptive && is_asked {
        let effort = wish.effort.or(wish.budget.map(Effort::of_budget));
        return Ok(Some(Plan::Adaptive(effort.map(|effort| match effort {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Most => "max",
        }))));
    }
    let Some(budget) = wish.budget.or(wish.effort.map(|effort| effort.budget(output_limit))) else { return Ok(None) };
    let most = output_limit.saturating_sub(1);
    if most < LEAST_BUDGET { Err(NoRoom) } else { Ok(Some(Plan::Budget(budget.clamp(LEAST_BUDGET, most)))) }
}

/// Whether the calls that the model is in the midst of came without their thoughts. With a budget, Anthropic refuses such.
fn has_lost_thoughts(messages: &[Message<'_>]) -> bool {
    let said = said_by(messages);
    let mut has_calls = false;
    for turn in said.chunk_by(|one, next| one.role == next.role).rev() {
        let has = |wanted: fn(&Part<'_>) -> bool| turn.iter().any(|message| message.parts.iter().any(wanted));
        let is_users = turn.iter().any(|message| message.role == Role::User);
        if is_users && !has(|part| matches!(part, Part::Result(_))) {
            break;
        }
        if has(|part| matches!(part, Part::Thinking(thinking) if is_provable(thinking))) {
            return false;
        }
        has_calls |= has(|part| matches!(part, Part::Call(_)));
    }
    has_calls
}

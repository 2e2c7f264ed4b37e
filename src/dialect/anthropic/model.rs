//! What differs between the models behind the dialect. Only the id tells them apart.
//!
//! Claude 4.6 began to weigh its thinking itself (`adaptive`), and 4.7 refuses both a budget and sampling numbers. Budgets stay
//! for those before, and for other makers' models that speak the dialect. Source: Anthropic's pages on extended and adaptive
//! thinking, and on migration between models.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// It weighs its thinking itself, told an effort; it knows no budget, or will not for long.
    pub is_adaptive: bool,
    /// It takes `temperature`, `top_p` and `top_k`.
    pub has_sampling: bool,
    /// It refuses `temperature` and `top_p` together.
    pub is_either_or: bool,
    /// It can be held to a tool's schema.
    pub is_strict: bool,
}

/// By the model's id upstream, such as `claude-sonnet-4-5-20250929` or `anthropic/claude-opus-4.6`.
pub fn abilities(model: &str) -> Abilities {
    let Some((_, rest)) = model.split_once("claude") else {
        return Abilities { is_adaptive: false, has_sampling: true, is_either_or: false, is_strict: false };
    };
    let parts = rest.split(['-', '.', '@', ':', '_', '/']);
    // Dates are longer than versions.
    let mut numbers = parts.filter(|part| part.len() <= 2).filter_map(|part| part.parse::<u8>().ok());
    // A name without a number is an alias of the newest.
    let version = (numbers.next().unwrap_or(u8::MAX), numbers.next().unwrap_or(0));
    Abilities {
        is_adaptive: version >= (4, 6),
        has_sampling: version < (4, 7),
        is_either_or: version >= (4, 1),
        is_strict: version >= (4, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells() {
        for (model, is_adaptive, has_sampling, is_strict) in [
            ("claude-3-7-sonnet-20250219", false, true, false),
            ("claude-3-5-haiku-latest", false, true, false),
            ("claude-sonnet-4-20250514", false, true, false),
            ("claude-sonnet-4@20250514", false, true, false),
            ("claude-opus-4-1-20250805", false, true, true),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", false, true, true),
            ("anthropic/claude-opus-4.6", true, true, true),
            ("claude-opus-4-7", true, false, true),
            ("claude-sonnet-5", true, false, true),
            ("claude-latest", true, false, true),
            ("kimi-k2", false, true, false),
        ] {
            let abilities = abilities(model);
            assert_eq!(
                (abilities.is_adaptive, abilities.has_sampling, abilities.is_strict),
                (is_adaptive, has_sampling, is_strict),
                "{model}"
            );
        }
    }
}

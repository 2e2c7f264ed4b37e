//! Whether a secret that an operator chose can be guessed.
//!
//! Deliberately absent: an estimate of entropy. What is made at random passes, and what people type does not.

/// In characters.
pub const SHORTEST: usize = 32;
/// Different characters that it has to have.
const KINDS: usize = 8;
/// Characters that go on neither from the one before nor to it.
const STEPS: usize = 16;
/// Words that stand in examples, in lower case.
const WORDS: [&str; 18] = [
    "changeme",
    "change-me",
    "change_me",
    "password",
    "passwort",
    "letmein",
    "qwerty",
    "placeholder",
    "replace",
    "example",
    "your-",
    "your_",
    "yoursecret",
    "mysecret",
    "supersecret",
    "default",
    "deadbeef",
    "0123456789",
];

/// Why a secret is too weak, after "it"; none if it is not.
pub fn weakness(secret: &str) -> Option<&'static str> {
    let letters: Vec<char> = secret.chars().collect();
    let mut kinds = letters.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let lower = secret.to_ascii_lowercase();
    if letters.len() < SHORTEST {
        Some("is shorter than 32 characters")
    } else if WORDS.iter().any(|word| lower.contains(word)) {
        Some("has a word in it that stands in examples")
    } else if kinds.len() < KINDS || steps(&letters) < STEPS || repeats(&letters) {
        Some("repeats itself")
    } else {
        None
    }
}

/// How many characters are neither the one before nor its neighbour.
fn steps(letters: &[char]) -> usize {
    letters.windows(2).filter(|two| matches!(two, [one, next] if u32::from(*one).abs_diff(u32::from(*next)) > 1)).count()
}

/// Whether it is a shorter text again and again.
fn repeats(letters: &[char]) -> bool {
    let half = letters.len().div_euclid(2);
    (1..=half).any(|period| letters.iter().zip(letters.iter().skip(period)).all(|(one, next)| one == next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_is_weak() {
        for secret in [
            "",
            "admin",
            "correct-horse-battery-staple",
            "0123456789abcdef0123456789abcde",
            "changeme-changeme-changeme-changeme",
            "ChangeMe7Jq2Lr9Xw4Tn6Vb8Zk1Hs3Gd5",
            "replace-this-with-a-long-random-text",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababababab",
            "7Jq2Lr9X7Jq2Lr9X7Jq2Lr9X7Jq2Lr9X",
            "abcdefghijklmnopqrstuvwxyzabcdefghij",
            "zyxwvutsrqponmlkjihgfedcba9876543210",
            "aabbccddeeffgghhiijjkkllmmnnooppqqrr",
        ] {
            assert!(weakness(secret).is_some(), "{secret}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_at_random_is_strong(bytes in proptest::array::uniform32(any::<u8>())) {
            let text = hex::encode(bytes);
            // `openssl rand -hex 32`, and the half of it.
            prop_assert!(weakness(&text).is_none() || WORDS.iter().any(|word| text.contains(word)), "{}", text);
        }
    }
}

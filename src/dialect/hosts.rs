//! Names and numbers of hosts in a text, in whatever surroundings.
//!
//! What always holds: the host that a channel is called at is found by its name, however that is written; others are found by how
//! names of hosts look. What looks like a name of a file, a member, a version or two sentences stays.

use std::borrow::Cow;

use super::host_names::{Around, is_code, is_named, is_v4, is_v6, port_length};

/// What a host is told as.
pub const ADDRESS: &str = "[address]";
/// What somebody at a host is told as.
pub const ACCOUNT: &str = "[account]";

/// Behind which a country follows in names that are registered.
const BEHIND: [&str; 8] = ["com", "co", "net", "org", "gov", "edu", "ac", "ne"];
/// A name of a host that is shorter can be a part of a word.
const SHORT: usize = 8;

/// No name and no number is longer.
const LONGEST: usize = 253;
const LONGEST_V6: usize = 45;
/// So much of what stands before a name is looked at.
const LONGEST_PATH: usize = 128;

/// What a name may be the end of as a member: what stands right before it.
fn path_before(text: &str) -> &str {
    let is_in_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-[]()$".contains(byte);
    let length = text.bytes().rev().take(LONGEST_PATH).take_while(is_in_path).count();
    text.get(text.len().saturating_sub(length)..).unwrap_or_default()
}

/// Whether a port or a path follows, or somebody stands before it.
fn is_used(before: &str, after: &str) -> bool {
    let has_path = after.strip_prefix('/').is_some_and(|path| path.starts_with(|c: char| c.is_ascii_alphanumeric()));
    before.ends_with('@') || has_path || port_length(after).is_some()
}

/// How long what belongs to a host behind it is: a port, and a path.
fn tail_length(text: &str) -> usize {
    let port = port_length(text).unwrap_or_default();
    let rest = text.get(port..).unwrap_or_default();
    if !rest.starts_with(['/', '?', '#']) {
        return port;
    }
    let end = rest.find(|c: char| !c.is_ascii_graphic() || "\"'`<>(){}[]|,;\\".contains(c)).unwrap_or(rest.len());
    let path = rest.get(..end).unwrap_or_default().trim_end_matches(['.', ':', '!', '?', '*', '_']);
    // A sign alone is one of the sentence.
    if path.len() > 1 { port.saturating_add(path.len()) } else { port }
}

const fn is_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// A text without hosts, by how they look.
pub fn without_hosts(text: &str) -> Cow<'_, str> {
    // Every name and every number of one has a dot or two colons, but for this one.
    let may_have = text.contains('.') || text.contains(':') || text.to_ascii_lowercase().contains("localhost");
    if !may_have {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut out, mut done, mut at) = (String::with_capacity(text.len()), 0_usize, 0_usize);
    while at < bytes.len() {
        let end = run_end(bytes, at);
        if end == at {
            at = at.saturating_add(1);
            continue;
        }
        // A run is gone through once, however many numbers it has.
        let numbers = numbers_in(text, at, end);
        let one = name_in(text, at, end).or_else(|| if numbers.is_empty() { v6_at(text, at) } else { None });
        let (found, next) = match one {
            Some((from, to)) => (vec![(from, to)], to),
            None => (numbers, end),
        };
        for (from, to) in found {
            if from < done {
                continue;
            }
            let lead = text.get(done..from).unwrap_or_default();
            match lead.strip_suffix('@') {
                // Who it is there is named before it.
                Some(lead) => {
                    let is_own = |c: char| c.is_ascii_alphanumeric() || "._%+-:".contains(c);
                    out.push_str(lead.trim_end_matches(is_own));
                    out.push_str(ACCOUNT);
                }
                None => {
                    out.push_str(lead);
                    out.push_str(ADDRESS);
                }
            }
            done = to.saturating_add(tail_length(text.get(to..).unwrap_or_default()));
        }
        at = next.max(done).max(at.saturating_add(1));
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// Where letters, digits, hyphens and single dots end that begin here.
fn run_end(bytes: &[u8], from: usize) -> usize {
    let of = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let is_dot = |at: usize| of(at) == b'.' && is_in_host(of(at.saturating_add(1)));
    let mut at = from;
    while is_in_host(of(at)) || at > from && is_dot(at) {
        at = at.saturating_add(1);
    }
    at
}

/// The host whose name a run is, or begins with.
fn name_in(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let run = text.get(start..end)?;
    let core = run.trim_start_matches('-');
    let from = end.saturating_sub(core.len());
    let core = core.trim_end_matches('-');
    let to = from.saturating_add(core.len());
    let before = text.get(..from).unwrap_or_default();
    let after = text.get(to..)?;
    let is_in_name = before.ends_with('_') || before.ends_with("].") || before.ends_with(").") || after.starts_with('_');
    let around = Around { is_in_name, path: path_before(before), is_used: is_used(before, after) };
    if is_named(core, around) {
        return Some((from, to));
    }
    if is_code(core) {
        return None;
    }
    let around = Around { is_used: before.ends_with('@'), ..around };
    // The next sentence can begin right behind the dot.
    let mut head = if core.len() <= LONGEST { core } else { "" };
    while let Some((rest, _)) = head.rsplit_once('.').filter(|(_, last)| last.starts_with(|c: char| c.is_ascii_uppercase())) {
        if is_named(rest, around) {
            return Some((from, from.saturating_add(rest.len())));
        }
        head = rest;
    }
    None
}

/// Numbers of hosts in a run: joined to others, or to a word where they are those of a private network. Others are versions.
fn numbers_in(text: &str, from: usize, end: usize) -> Vec<(usize, usize)> {
    let core = text.get(from..end).unwrap_or_default();
    let is_numbers = core.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let mut at = from;
    let found = core.split_inclusive('-').filter_map(|piece| {
        let piece_from = at;
        at = at.saturating_add(piece.len());
        let number = piece.trim_end_matches('-').trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let skipped = piece.trim_end_matches('-').len().saturating_sub(number.len());
        let is_version = piece.get(..skipped).is_some_and(|word| word.eq_ignore_ascii_case("v"));
        let number_from = piece_from.saturating_add(skipped);
        let is_host = is_v4(number) && (is_numbers && skipped == 0 || is_private(number) && !is_version);
        is_host.then(|| (number_from, number_from.saturating_add(number.len())))
    });
    found.collect()
}

/// Whether a number is one of a private network.
fn is_private(number: &str) -> bool {
    number.parse::<std::net::Ipv4Addr>().is_ok_and(|number| number.is_private() || number.is_loopback() || number.is_link_local())
}

/// The number of the sixth version that begins at a place or at the colon before it.
fn v6_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text.get(..at)?;
    let colons = before.len().saturating_sub(before.trim_end_matches(':').len());
    let from = if colons >= 2 { at.saturating_sub(2) } else { at };
    if text.get(..from)?.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) && colons != 1 {
        return None;
    }
    let rest = text.get(from..)?;
    let length = rest.bytes().take(LONGEST_V6).take_while(|byte| byte.is_ascii_hexdigit() || *byte == b':').count();
    let number = rest.get(..length)?;
    let number = number.strip_suffix(':').filter(|_| !number.ends_with("::")).unwrap_or(number);
    let after = rest.get(number.len()..)?;
    if !is_v6(number) || after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    // Of an address that is good on one link, the link.
    let zone = after.strip_prefix('%').map_or(0, |zone| zone.bytes().take_while(u8::is_ascii_alphanumeric).count());
    let zone = if zone > 0 { zone.saturating_add(1) } else { 0 };
    Some((from, from.saturating_add(number.len()).saturating_add(zone)))
}

/// A text without one host, by its name, and without others under the same registered name: in any case, in any surroundings.
pub fn without_host(text: &str, host: &str) -> String {
    let host = host.trim_matches(['[', ']', '.']).to_ascii_lowercase();
    if host.len() < 2 {
        return text.to_owned();
    }
    let mut out = text.to_owned();
    let is_whole = |name: &str| name.len() < SHORT || !name.contains(['.', ':']);
    for (name, is_word) in [(Some(host.as_str()), is_whole(&host)), (registered(&host), true)] {
        let Some(name) = name else { continue };
        out = without(&out, name, is_word);
        // Spelled with other signs, only the whole of it is no word: `x-ai` is a maker of models, `x.ai` is a host.
        let is_telling = name == host && name.len() >= SHORT;
        for (dot, is_word) in [("%2e", is_word), ("\\.", is_word), ("[.]", is_word), ("_", true), ("-", true)] {
            if name.contains('.') && !is_v4(name) && (is_telling || !matches!(dot, "_" | "-")) {
                out = without(&out, &name.replace('.', dot), is_word);
            }
        }
    }
    out
}

/// A text without a name, which is in small letters; as a whole word, or in the middle of others as well. With the labels that
/// stand before it, and what belongs to it behind it.
fn without(text: &str, name: &str, is_word: bool) -> String {
    // ASCII letters of either case are equally long, so that places in both are the same.
    let lower = text.to_ascii_lowercase();
    let (mut out, mut done) = (String::new(), 0_usize);
    for (at, _) in lower.match_indices(name) {
        let to = at.saturating_add(name.len());
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(to..).unwrap_or_default());
        let is_cut =
            before.ends_with(|c: char| c.is_ascii_alphanumeric()) || after.starts_with(|c: char| c.is_ascii_alphanumeric());
        if at < done || is_word && is_cut {
            continue;
        }
        let lead = text.get(done..at).unwrap_or_default();
        let labels = if lead.ends_with('.') {
            lead.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "-.".contains(c))
        } else {
            lead
        };
        out.push_str(labels);
        out.push_str(ADDRESS);
        done = to.saturating_add(tail_length(after));
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// The name that a host's was registered under, where that is another.
fn registered(host: &str) -> Option<&str> {
    if is_v4(host) || host.contains(':') {
        return None;
    }
    let mut labels = host.rsplit('.');
    let (end, behind) = (labels.next()?, labels.next()?);
    let is_behind = end.len() == 2 && BEHIND.contains(&behind);
    let (at, _) = host.rmatch_indices('.').nth(if is_behind { 2 } else { 1 })?;
    host.get(at.saturating_add(1)..)
}

#[cfg(test)]
mod tests {
    use super::super::host_names::is_host;
    use super::*;
    use proptest::prelude::*;

    /// What can stand around a name, before and behind it.
    const AROUND: [(&str, &str); 26] = [
        ("", ""),
        ("at ", " now"),
        ("host:", ""),
        ("addr=", ";"),
        ("a:1->", ""),
        ("", "->x"),
        ("(", ")"),
        ("[", "]"),
        ("{\"h\":\"", "\"}"),
        ("<", ">"),
        ("|", "|"),
        ("a,", ",b"),
        ("_", "_"),
        ("upstream_", "_1"),
        ("*", "*"),
        ("**", "**"),
        ("*.", ""),
        ("请求", "失败"),
        ("'", "'"),
        ("`", "`:"),
        ("~", "~"),
        ("\\", "\\n"),
        ("#", "!"),
        ("to=", "&x=1"),
        ("...", "..."),
        ("x;", "."),
    ];

    #[test]
    fn a_host_is_found_by_its_looks_whatever_is_around_it() {
        for host in [
            "api.openai.com",
            "eu-1.pool.example.io",
            "10.0.12.7",
            "llm.default.svc",
            "API.EXAMPLE.COM",
            "a.b.internal",
            "localhost",
            "api.example.shop",
            "example.ru",
            "llm.example.sh",
            "tools.example.com",
            "content.googleapis.com",
            "1.pool.example.org",
            "ip-10.0.0.1.nip.io",
            "10.0.0.1.nip.io",
        ] {
            for port in ["", ":443"] {
                for (before, after) in AROUND {
                    let told = without_hosts(&format!("{before}{host}{port}{after}")).into_owned();
                    assert!(!told.contains(host) && told.contains(ADDRESS), "{before}{host}{port}{after}: {told}");
                    let after = after.trim_end_matches("->x");
                    assert!(
                        told.starts_with(before.trim_end_matches('.')) && told.trim_end_matches("->x").ends_with(after),
                        "{told}"
                    );
                }
            }
        }
        for (said, told) in [
            ("addr:10.0.0.1:443", "addr:[address]"),
            ("host:api.openai.com", "host:[address]"),
            ("10.0.0.1:55000->10.0.0.2:443: i/o timeout", "[address]->[address]: i/o timeout"),
            ("ip-10.0.0.1-ip-10.0.0.2-x:80", "ip-[address]-ip-[address]-x:80"),
            ("10.0.0.1-10.0.0.9 and 8.8.8.8-443", "[address]-[address] and [address]-443"),
            ("ip-10.0.0.1 is down", "ip-[address] is down"),
            ("peer:fd00::1, [2001:db8::1]:443, fe80::1%eth0 and ::1", "peer:[address], [[address]]:443, [address] and [address]"),
            ("user:pw@10.0.0.1->x", "[account]->x"),
            ("mail=ops@example.com|x", "mail=[account]|x"),
            ("user.info:443, foo.chat/v1 and ops@foo.chat, but user.info", "[address], [address] and [account], but user.info"),
            ("at redis.internal or printer.local.", "at [address] or [address]."),
            ("messages.example.com:443 and properties.example.com/x", "[address] and [address]"),
            (
                "see java.net:443, api.example.com.Error and at api.example.com.ThenError",
                "see [address], [address].Error and at api.example.com.ThenError",
            ),
            ("url=api.example.com/v1/chat?k=1, then", "url=[address], then"),
            ("is it api.example.com? Or api.example.com/?", "is it [address]? Or [address]/?"),
            ("at api.example.com.Please wait, or 10.0.0.1.Then go", "at [address].Please wait, or [address].Then go"),
        ] {
            assert_eq!(without_hosts(said), told);
        }
    }

    #[test]
    fn what_only_looks_like_a_host_stays() {
        for said in [
            "gpt-4.1, gpt-4.1-mini-2025-04-14, claude-3.5-sonnet, o4-mini:v1.2.3 and llama-3.1-8b.gguf",
            "v1.2.3.4 and cuda-12.1.0.1 and 2.0.0.1-beta of 1.2.3",
            "README.md, a.png, node.js, main.rs, x.tar.gz, tokenizer_config.json, [model.py]",
            "Please wait.In a minute it works.Me too.Top of the list.Use another.App",
            "tools[0].info, x[1].a.info, f(x).b.run, messages.0.content.info, input[0].content[1].file.type",
            "my_module.run, client_x.chat and some_thing.me",
            "at 12:30:45 or 2026-01-02T12:30:45.123Z, 1.5s, 0.25, 99.9%",
            "std::vec, Foo::add, a::b, dead::beef and cc::cd",
            "e.g. i.e. etc... and so on.",
            "请求参数错误：messages.content 不能为空。",
            "model:tag, key=value, a->b, a:1->b:443, (x|y), org/model:free",
            "messages.1.content.2.tool_use.input.url",
            "tools[0].parameters.properties.org, tools.0.custom.input_schema.properties.name.de, x[1].com and f(x).io",
            "properties.net, messages.content.org, body.content.io, tools.0.ai, $.items.com, input_schema.ru, response_format.user_id.com",
            "user.info, foo.chat, asyncio.run(), deploy.sh, data.store, tls.ca and main.cc",
            "java.net.SocketTimeoutException: timeout, java.io.IOException, System.Net.Http.HttpRequestException",
            "io.grpc.com.StatusRuntimeException, httpx.io.ConnectError: [Errno 111], package java.net",
            "",
        ] {
            assert_eq!(without_hosts(said), said);
        }
    }

    #[test]
    fn the_own_host_is_found_by_name_in_every_form() {
        const HOST: &str = "llm.eu-1.corp-ai.example";
        for written in [
            "llm.eu-1.corp-ai.example",
            "LLM.EU-1.Corp-AI.Example",
            "llm%2Eeu-1%2ecorp-ai%2Eexample",
            "llm\\.eu-1\\.corp-ai\\.example",
            "llm[.]eu-1[.]corp-ai[.]example",
            "llm_eu-1_corp-ai_example",
            "llm-eu-1-corp-ai-example",
            "corp-ai.example",
            "other.corp-ai.example",
            "CORP-AI.EXAMPLE",
        ] {
            for port in ["", ":8080", ":8080/v1/chat"] {
                for (before, after) in AROUND {
                    let said = format!("{before}{written}{port}{after}");
                    let told = without_host(&said, HOST);
                    assert!(!told.to_ascii_lowercase().contains("corp") && told.contains(ADDRESS), "{said}: {told}");
                }
            }
        }
        assert_eq!(without_host("xllm.eu-1.corp-ai.exampley", HOST), "x[address]y", "in the middle of others");
        for said in ["incorp-ai.example", "corp-ai.examples", "corp ai example", "eu-1", "llm", "example"] {
            assert_eq!(without_host(said, HOST), said);
        }
    }

    #[test]
    fn short_names_and_those_without_a_dot_are_whole_words() {
        for (host, said, told) in [
            ("llm", "at llm:8080, in llms and fullm", "at [address], in llms and fullm"),
            ("a.io", "at a.io:1, in data.io and a.iota", "at [address], in data.io and a.iota"),
            ("[fd00::1]", "at fd00::1 or [FD00::1]:443", "at [address] or [[address]]:443"),
            ("10.0.0.1", "at 10.0.0.1:443.", "at [address]."),
            ("api.example.co.uk", "co.uk, example.co.uk, x.example.co.uk", "co.uk, [address], [address]"),
            ("api.example.com.cn", "com.cn and EXAMPLE.COM.CN", "com.cn and [address]"),
            ("", "anything", "anything"),
            ("api.x.ai", "x-ai/grok-4 and x_ai at x.ai, api-x-ai", "x-ai/grok-4 and x_ai at [address], [address]"),
            ("api.z.ai", "model z-ai/glm-4.6 not found at api.z.ai/v4", "model z-ai/glm-4.6 not found at [address]"),
            ("x.ai", "x-ai and x_ai, x.ai", "x-ai and x_ai, [address]"),
            (
                "llm.corp.example",
                "corp-example and corp_example, llm-corp-example, llm_corp_example",
                "corp-example and corp_example, [address], [address]",
            ),
        ] {
            assert_eq!(without_host(said, host), told, "{host}");
        }
        assert_eq!(registered("example.com"), None);
        assert_eq!(registered("localhost"), None);
    }

    proptest! {
        /// Whatever is around it, the own host's name does not come through, and again is the same.
        #[test]
        fn no_own_host_comes_through(
            host in "[a-z]{2,8}(-[a-z0-9]{1,4})?(\\.[a-z]{3,8}){1,3}",
            before in ".{0,12}",
            after in ".{0,12}",
            is_upper in any::<bool>(),
            port in prop::option::of(1_u16..),
        ) {
            let written = if is_upper { host.to_ascii_uppercase() } else { host.clone() };
            let said = format!("{before}{written}{}{after}", port.map(|port| format!(":{port}")).unwrap_or_default());
            let told = without_host(&said, &host);
            let is_cut = host.len() < SHORT
                && (before.ends_with(|c: char| c.is_ascii_alphanumeric()) || port.is_none() && after.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(is_cut || !told.to_ascii_lowercase().contains(&host), "{}: {}", said, told);
            prop_assert_eq!(without_host(&told, &host), told.clone());
        }

        /// A host with signs around it is found, whatever these are; words without a dot and without two colons stay.
        #[test]
        fn signs_hide_no_host(
            before in "[a-z]{0,5}[^A-Za-z0-9.@/-]{1,4}",
            host in "[a-z]{1,8}(\\.[a-z][a-z0-9]{0,5}){0,2}\\.(com|io|ai|cn)",
            number in any::<[u8; 4]>(),
            after in "[^A-Za-z0-9.@/-]{1,4}[a-z]{0,5}",
        ) {
            let number = std::net::Ipv4Addr::from(number).to_string();
            for host in [host, number] {
                let said = format!("{before}{host}{after}");
                let told = without_hosts(&said).into_owned();
                prop_assert!(!told.contains(&host), "{}: {}", said, told);
                prop_assert_eq!(without_hosts(&told).into_owned(), told.clone());
            }
        }

        #[test]
        fn words_stay(said in "[A-Za-z0-9 ,;!?_*()\\[\\]{}|=>-]{0,40}") {
            prop_assume!(!said.to_ascii_lowercase().contains("localhost"));
            prop_assert_eq!(without_hosts(&said), said.as_str());
        }

        #[test]
        fn no_text_is_too_odd(said in ".{0,60}", odd in "[a-f0-9:.@/%_*>-]{0,40}", host in ".{0,12}") {
            let said = format!("{said}{odd}{said}");
            let _ = without_hosts(&said);
            let _ = without_host(&said, &host);
            let _ = is_host(&odd, true);
        }
    }
}

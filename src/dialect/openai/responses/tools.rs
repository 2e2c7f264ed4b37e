//! The tools of a request: which cost what, wherever in the request they stand, and what they are in a conversation.
//!
//! What always holds: a tool in an item of the input is checked as one in `tools` is. What the client runs itself costs tokens
//! alone; what is known to cost more has a price and a bound, or is refused; what nobody knows goes only to channels whose
//! operator says so.

use super::super::parts::{read_cache, read_tool};
use crate::dialect::conversation::{Form, Tool, ToolKind};
use crate::dialect::envelope::{Envelope, Fields};
use crate::dialect::format::{Dropped, UNKNOWN};
use crate::dialect::json::{Edit, Object, items, may_have};
use crate::dialect::node::Node;
use crate::refusal::Refusal;
use crate::usage::Class;

/// More calls of a provider's own tools than this are a typing error.
const MOST_TOOL_CALLS: u64 = 1_000;
/// So many of them one response may make where the client sets no bound. Each may read the whole conversation again.
const USUAL_TOOL_CALLS: u64 = 4;
/// Groups of tools in one another, at most.
const DEEPEST: u8 = 4;
/// Tools that the client runs.
const OF_CLIENT: [&str; 6] = ["function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview"];
/// Tools of the provider that have a price beyond tokens, and none here.
const COSTLY: [&str; 3] = ["file_search", "code_interpreter", "image_generation"];

/// What the tools of a request are, beside those that the client runs.
#[derive(Default)]
struct Survey {
    /// Whether there are tools that the client runs.
    has_own: bool,
    /// Whether the provider may search, and whether that is asked for among `tools` alone.
    searches: bool,
    searches_in_items: bool,
    /// Whether one stands in a group of tools.
    searches_within: bool,
    /// Whether it may make other calls that read the conversation again.
    rounds: bool,
    /// Where the first tool is that nobody knows.
    unknown: Option<String>,
}

impl Survey {
    fn of(request: &Object<'_>) -> Result<Self, Refusal> {
        let root = Node::root(request);
        let mut survey = Self::default();
        for tool in root.nodes("tools")? {
            survey.tool(tool, DEEPEST)?;
        }
        let searches = std::mem::take(&mut survey.searches);
        for tool in in_items(request)? {
            survey.tool(tool, DEEPEST)?;
        }
        survey.searches_in_items = survey.searches;
        survey.searches |= searches;
        Ok(survey)
    }

    fn tool(&mut self, tool: Node<'_>, depth: u8) -> Result<(), Refusal> {
        let tool = tool.clear()?;
        let kind = tool.required("type")?;
        match kind.as_ref() {
            kind if OF_CLIENT.contains(&kind) => self.has_own = true,
            "namespace" => {
                let Some(depth) = depth.checked_sub(1) else {
                    return Err(tool.wrong("tools", "are groups too deep in one another"));
                };
                for inner in tool.nodes("tools")? {
                    self.tool(inner, depth)?;
                }
            }
            "tool_search" if tool.words("execution") == "client" => self.has_own = true,
            "tool_search" | "mcp" => self.rounds = true,
            "shell" => {
                let place =
                    tool.object("environment")?.map(Node::clear).transpose()?.map(|environment| environment.words("type"));
                if place.is_some_and(|place| place != "local") {
                    return Err(tool.wrong("environment", "asks for a container, which has no price here"));
                }
                self.has_own = true;
            }
            kind if kind.starts_with("web_search") => {
                self.searches = true;
                self.searches_within |= depth < DEEPEST;
            }
            kind if COSTLY.contains(&kind) => {
                return Err(tool.wrong("type", &format!("is `{kind}`, which has costs beyond tokens and no price here")));
            }
            _ => {
                self.unknown.get_or_insert(tool.at("type"));
            }
        }
        Ok(())
    }
}

/// The tools that items of the input bring along. Lists that say what a provider found are no offers.
fn in_items<'a>(request: &Object<'a>) -> Result<Vec<Node<'a>>, Refusal> {
    let input = request.get("input").filter(|input| input.starts_with('[') && may_have(input, "tools"));
    let mut tools = Vec::new();
    for (at, json) in input.and_then(items).unwrap_or_default().into_iter().enumerate() {
        let Some(item) = Object::parse(json).filter(|item| item.names().any(|name| name.eq_ignore_ascii_case("tools"))) else {
            continue;
        };
        let path = format!("input[{at}]");
        if let Some(name) = item.unclear(&["type", "tools"]) {
            return Err(Refusal::invalid(&path, format!("`{path}.{name}` must stand there once, in lower case.")));
        }
        let item = Node::parse(json, path)?;
        if item.words("type") != "mcp_list_tools" {
            tools.extend(item.nodes("tools")?);
        }
    }
    Ok(tools)
}

/// Whether a call of any tool at all is forced.
fn is_forced(request: &Object<'_>) -> bool {
    request.get("tool_choice").is_some_and(|choice| !matches!(choice, "null" | "\"auto\"" | "\"none\""))
}

/// Notes in the envelope what the tools of a request may cost.
pub fn check(request: &Object<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    let most = Fields(request).count("max_tool_calls", MOST_TOOL_CALLS)?;
    let survey = Survey::of(request)?;
    let bound = most.unwrap_or(USUAL_TOOL_CALLS);
    if survey.searches {
        (envelope.searches, envelope.rounds) = (bound, bound);
        envelope.need(Class::Searches);
        envelope.is_hosted_offered =
            survey.has_own && !survey.searches_in_items && !survey.searches_within && !survey.rounds && !is_forced(request);
    }
    if survey.rounds {
        envelope.rounds = bound;
    }
    envelope.unknown_tool = survey.unknown;
    Ok(())
}

/// What must change in the tools of a request that passes: searches that have no price are left out, and what has no bound gets
/// one.
pub fn edits(request: &Object<'_>, leaves_out_hosted: bool) -> Vec<Edit> {
    let mentions =
        |name: &str| ["tools", "input"].iter().any(|member| request.get(member).is_some_and(|json| may_have(json, name)));
    if !mentions("web_search") && !mentions("mcp") && !mentions("tool_search") {
        return Vec::new();
    }
    let Ok(survey) = Survey::of(request) else { return Vec::new() };
    if leaves_out_hosted && survey.searches {
        let is_kept = |json: &&str| Object::parse(json).is_some_and(|tool| !is_search(&tool));
        let tools: Vec<&str> = request.get("tools").and_then(items).unwrap_or_default();
        let kept: Vec<&str> = tools.iter().filter(|json| is_kept(json)).copied().collect();
        return vec![Edit::Set("tools", format!("[{}]", kept.join(",")))];
    }
    let has_bound = request.given("max_tool_calls").is_some();
    if (survey.searches || survey.rounds) && !has_bound {
        return vec![Edit::Set("max_tool_calls", USUAL_TOOL_CALLS.to_string())];
    }
    Vec::new()
}

fn is_search(tool: &Object<'_>) -> bool {
    tool.maybe_text("type").is_some_and(|kind| kind.starts_with("web_search"))
}

/// The tools of a request for a conversation; what is left out of them is named.
pub fn read<'a>(request: &Object<'a>, dropped: &mut Dropped) -> Result<Vec<Tool<'a>>, Refusal> {
    let mut tools = Vec::new();
    let mut offered = Vec::new();
    for tool in Node::root(request).nodes("tools")?.into_iter().chain(in_items(request)?) {
        match tool.words("type").starts_with("web_search") {
            true => offered.push(tool),
            false => read_into(&tool, None, &mut tools)?,
        }
    }
    if let Some(search) = offered.first() {
        // What is only offered may be missing; what is all there is, or is insisted on, may not.
        if tools.is_empty() || is_forced(request) {
            return Err(search.wrong("type", UNKNOWN));
        }
        dropped.note(&search.at("web_search"));
    }
    Ok(tools)
}

fn read_into<'a>(tool: &Node<'a>, namespace: Option<&str>, tools: &mut Vec<Tool<'a>>) -> Result<(), Refusal> {
    let form = |kind| Form { kind, namespace: namespace.map(ToOwned::to_owned) };
    match tool.required("type")?.as_ref() {
        "function" => {
            let read = read_tool(tool, read_cache(tool)?)?;
            tools.push(Tool { form: form(ToolKind::Function), ..read });
        }
        "custom" => tools.push(Tool {
            name: tool.required("name")?.into_owned(),
            description: tool.text("description")?,
            form: form(ToolKind::Custom),
            grammar: tool.given("format").filter(|format| !format.contains("\"text\"")).map(Into::into),
            ..Tool::default()
        }),
        "namespace" if namespace.is_none() => {
            let name = tool.required("name")?;
            for inner in tool.nodes("tools")? {
                read_into(&inner, Some(&name), tools)?;
            }
        }
        "tool_search" if tool.words("execution") == "client" => tools.push(Tool {
            name: "tool_search".to_owned(),
            description: tool.text("description")?,
            schema: tool.object("parameters")?.and_then(|_| tool.given("parameters")).map(Into::into),
            form: form(ToolKind::Search),
            ..Tool::default()
        }),
        "local_shell" => tools.push(Tool { name: "local_shell".to_owned(), form: form(ToolKind::Shell), ..Tool::default() }),
        _ => return Err(tool.wrong("type", UNKNOWN)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::body::Body;

    fn checked(members: &str) -> Result<Envelope, Refusal> {
        let text = format!("{{\"input\":\"x\",{members}}}");
        let text = if members.contains("\"input\"") { format!("{{{members}}}") } else { text };
        let body = Body::parse(text.as_bytes(), "").unwrap();
        let mut envelope = Envelope::default();
        check(&body.object, &mut envelope).map(|()| envelope)
    }

    fn edited(text: &str, leaves_out_hosted: bool) -> String {
        let object = Object::parse(text).unwrap();
        object.edited(&edits(&object, leaves_out_hosted))
    }

    const OWN: &str = r#"{"type":"function","name":"f"}"#;

    #[test]
    fn what_the_client_runs_costs_tokens_alone() {
        for tools in [
            OWN,
            r#"{"type":"custom","name":"apply_patch"}"#,
            r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]}"#,
            r#"{"type":"tool_search","execution":"client"}"#,
            r#"{"type":"local_shell"}"#,
        ] {
            for members in
                [format!("\"tools\":[{tools}]"), format!(r#""input":[{{"type":"additional_tools","tools":[{tools}]}}]"#)]
            {
                let envelope = checked(&members).unwrap();
                assert_eq!((envelope.rounds, envelope.searches, envelope.unknown_tool), (0, 0, None), "{members}");
            }
        }
    }

    #[test]
    fn a_search_is_bounded_wherever_it_stands() {
        for members in [
            r#""tools":[{"type":"web_search"}]"#.to_owned(),
            format!(r#""tools":[{OWN}],"input":[{{"type":"additional_tools","tools":[{{"type":"web_search_preview"}}]}}]"#),
            r#""input":[{"type":"tool_search_output","tools":[{"type":"namespace","name":"n","tools":[{"type":"web_search"}]}]}]"#.to_owned(),
        ] {
            let envelope = checked(&members).unwrap();
            assert_eq!((envelope.searches, envelope.rounds, envelope.needs.as_slice()), (4, 4, [Class::Searches].as_slice()), "{members}");
            assert!(!envelope.is_hosted_offered, "{members}");
        }
        let beside = format!(r#""tools":[{OWN},{{"type":"web_search"}}]"#);
        assert!(checked(&beside).unwrap().is_hosted_offered);
        assert!(!checked(&format!(r#"{beside},"tool_choice":"required""#)).unwrap().is_hosted_offered);
        assert_eq!(checked(&format!(r#"{beside},"max_tool_calls":9"#)).unwrap().searches, 9);
        let within = format!(r#""tools":[{OWN},{{"type":"namespace","name":"n","tools":[{{"type":"web_search"}}]}}]"#);
        assert!(!checked(&within).unwrap().is_hosted_offered, "it cannot be taken out of there");
    }

    #[test]
    fn what_costs_more_is_refused_where_it_stands() {
        for (members, param) in [
            (r#""tools":[{"type":"file_search"}]"#, "tools[0].type"),
            (r#""input":[{"type":"additional_tools","tools":[{"type":"code_interpreter"}]}]"#, "input[0].tools[0].type"),
            (r#""input":[1,{"type":"x","tools":[{"type":"image_generation"}]}]"#, "input[1].tools[0].type"),
            (r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"file_search"}]}]"#, "tools[0].tools[0].type"),
            (
                r#""input":[{"type":"additional_tool\u0073","tool\u0073":[{"type":"code_interpreter"}]}]"#,
                "input[0].tools[0].type",
            ),
            (r#""input":[{"type":"additional_tools","Tools":[{"type":"file_search"}]}]"#, "input[0]"),
            (r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#, "tools[0].environment"),
        ] {
            assert_eq!(checked(members).unwrap_err().param.as_deref(), Some(param), "{members}");
        }
        assert!(checked(r#""input":[{"type":"mcp_list_tools","tools":[{"name":"x"}]}]"#).is_ok());
        let unknown = checked(r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"whatever_comes_next"}]}]"#).unwrap();
        assert_eq!(unknown.unknown_tool.as_deref(), Some("tools[0].tools[0].type"));
        let deep = format!("{}{}", r#"{"type":"namespace","name":"n","tools":["#.repeat(9), "]}".repeat(9));
        assert!(checked(&format!("\"tools\":[{deep}]")).is_err());
    }

    #[test]
    fn a_bound_is_set_where_there_is_none() {
        let plain = r#"{"input":"about \"mcp\"","tools":[{"type":"function","name":"web_search"}]}"#;
        assert_eq!(edited(plain, false), plain);
        let search = format!(r#"{{"tools":[{OWN},{{"type":"web_search"}}]}}"#);
        assert_eq!(edited(&search, false), search.replace("]}", r#"],"max_tool_calls":4}"#));
        assert_eq!(edited(&search, true), format!(r#"{{"tools":[{OWN}]}}"#));
        let bounded = search.replace("]}", r#"],"max_tool_calls":2}"#);
        assert_eq!(edited(&bounded, false), bounded);
        let escaped = format!(r#"{{"tools":[{OWN},{{"type":"web\u005fsearch"}}]}}"#);
        assert!(
            edited(&escaped, false).ends_with(r#","max_tool_calls":4}"#)
                && edited(&escaped, true) == format!(r#"{{"tools":[{OWN}]}}"#)
        );
        let in_items = r#"{"input":[{"type":"additional_tools","tools":[{"type":"web_search"}]}]}"#;
        assert!(edited(in_items, false).ends_with(r#","max_tool_calls":4}"#));
    }

    #[test]
    fn tools_are_read_with_what_they_are_for_the_client() {
        let text = format!(
            r#"{{"tools":[{OWN},{{"type":"web_search"}},{{"type":"custom","name":"p","description":"d","format":{{"type":"grammar"}}}},
            {{"type":"namespace","name":"n","tools":[{OWN}]}},{{"type":"tool_search","execution":"client","parameters":{{}}}},
            {{"type":"local_shell"}}]}}"#
        );
        let mut dropped = Dropped::default();
        let tools = read(&Object::parse(&text).unwrap(), &mut dropped).unwrap();
        let told: Vec<_> =
            tools.iter().map(|tool| (tool.name.as_str(), tool.form.kind, tool.form.namespace.as_deref())).collect();
        let expected = [
            ("f", ToolKind::Function, None),
            ("p", ToolKind::Custom, None),
            ("f", ToolKind::Function, Some("n")),
            ("tool_search", ToolKind::Search, None),
            ("local_shell", ToolKind::Shell, None),
        ];
        assert_eq!((told.as_slice(), &*dropped), (expected.as_slice(), ["tools[1].web_search".to_owned()].as_slice()));
        for alone in [
            r#"{"tools":[{"type":"web_search"}]}"#.to_owned(),
            format!(r#"{{"tools":[{OWN},{{"type":"web_search"}}],"tool_choice":"required"}}"#),
        ] {
            assert!(read(&Object::parse(&alone).unwrap(), &mut Dropped::default()).is_err(), "{alone}");
        }
    }
}

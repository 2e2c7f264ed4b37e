//! The rows of the table. Where two templates fit a path, the one that stands first is meant.

use super::row::About::{Administration, Anthropic, Gateway, Gemini, Models, Money, Openai, Pages, Receipts};
use super::row::Who::{Anyone, Key, Operator, Signature};
use super::row::{About, Body, Row, SWITCHING};

const EVENTS: &str = "text/event-stream";
const HTML: &str = "text/html";
const EXPORTS: &str = "text/csv application/jsonl";
const FILTERS: &str = "limit after key project model route bucket status run since until format";
const ENTRY_FILTERS: &str = "limit after key project model route bucket status run kind since until format";
const ALL_FILTERS: &str = "limit after account key project model route bucket status run kind since until format";
const SPEND: &str = "since_day until_day date by project key model route bucket cause";
const ALL_SPEND: &str = "since_day until_day date by account project key model route bucket cause";

/// A request to a model.
const fn ask(path: &'static str, about: About, summary: &'static str) -> Row {
    Row::new("POST", path, (Key, about), summary)
}

const fn gemini(path: &'static str, summary: &'static str) -> Row {
    ask(path, Gemini, summary).takes("GenerateRequest").gives("GenerateAnswer")
}

const fn read(path: &'static str, about: About, summary: &'static str) -> Row {
    Row::new("GET", path, (Key, about), summary)
}

const fn write(path: &'static str, about: About, summary: &'static str) -> Row {
    Row::new("POST", path, (Key, about), summary)
}

const fn admin(method: &'static str, path: &'static str, summary: &'static str) -> Row {
    Row::new(method, path, (Operator, Administration), summary)
}

const fn page(path: &'static str, summary: &'static str) -> Row {
    Row::new("GET", path, (Anyone, Pages), summary).types(HTML)
}

/// Every endpoint. What a placeholder stands for may have no slash, but for a model's id.
pub const TABLE: &[Row] = &[
    // Asking models.
    ask("/v1/chat/completions", Openai, "Asks a model for text.").takes("ChatRequest").gives("ChatAnswer").types(EVENTS),
    ask("/v1/completions", Openai, "Asks a model to go on with a text.").takes("TextRequest").gives("ChatAnswer").types(EVENTS),
    ask("/v1/responses", Openai, "Asks a model for a response.").takes("ResponsesRequest").gives("ResponsesAnswer").types(EVENTS),
    Row::new("GET", "/v1/responses", (Key, Openai), "Opens a WebSocket, over which responses are asked for one after the other.")
        .status(SWITCHING),
    ask("/v1/responses/input_tokens", Openai, "Counts the tokens of a response's input; free.")
        .takes("ResponsesCountRequest")
        .gives("ResponsesCount"),
    ask("/v1/responses/compact", Openai, "Makes a conversation short.").takes("ResponsesRequest").gives("OpenaiAnswer"),
    ask("/v1/embeddings", Openai, "Turns text into vectors.").takes("InputRequest").gives("OpenaiAnswer"),
    ask("/v1/moderations", Openai, "Judges text and images.").takes("DefaultModelRequest").gives("OpenaiAnswer"),
    ask("/v1/rerank", Openai, "Orders documents by a query.").takes("RerankRequest").gives("OpenaiAnswer"),
    ask("/v1/images/generations", Openai, "Makes images.").takes("DefaultModelRequest").gives("OpenaiAnswer").types(EVENTS),
    ask("/v1/images/edits", Openai, "Changes images.")
        .body(Body::JsonOrForm("DefaultModelRequest"))
        .gives("OpenaiAnswer")
        .types(EVENTS),
    ask("/v1/audio/speech", Openai, "Speaks text.").takes("SpeechRequest").types("audio/* text/event-stream"),
    ask("/v1/audio/transcriptions", Openai, "Writes down what is said.")
        .body(Body::Form("SoundForm"))
        .gives("OpenaiAnswer")
        .types("text/plain text/event-stream"),
    ask("/v1/audio/translations", Openai, "Writes down in English what is said.")
        .body(Body::Form("SoundForm"))
        .gives("OpenaiAnswer")
        .types("text/plain"),
    ask("/v1/messages", Anthropic, "Asks a model for a message.").takes("MessagesRequest").gives("MessagesAnswer").types(EVENTS),
    ask("/v1/messages/count_tokens", Anthropic, "Counts the tokens of a message; free.").takes("CountRequest").gives("Count"),
    gemini("/v1beta/models/{model}:generateContent", "Asks a model for content."),
    gemini("/v1beta/models/{model}:streamGenerateContent", "Asks a model for content, streamed.").query("alt").types(EVENTS),
    gemini("/v1beta/models/{model}:countTokens", "Counts the tokens of content; free.").gives("GeminiCount"),
    gemini("/v1/models/{model}:generateContent", "Asks a model for content."),
    gemini("/v1/models/{model}:streamGenerateContent", "Asks a model for content, streamed.").query("alt").types(EVENTS),
    gemini("/v1/models/{model}:countTokens", "Counts the tokens of content; free.").gives("GeminiCount"),
    // What can be called, and how it fares.
    write("/v1/route", Models, "Explains what would happen to a request; sends and spends nothing.")
        .query("endpoint")
        .takes("AnyRequest")
        .gives("RoutePlan"),
    read("/v1/models", Models, "The models that this key can call now.").query("include").gives("ModelList"),
    read("/v1/models/{model}/endpoints", Models, "The routes of a model with the health of each candidate.")
        .gives("ModelEndpoints"),
    read("/v1/models/{model}", Models, "One model by name or alias, callable or not.").gives("ModelAnswer"),
    read("/v1beta/models", Models, "The same list in Gemini's shape.").query("include").gives("GeminiModelList"),
    read("/v1beta/models/{model}", Models, "The same model in Gemini's shape.").gives("GeminiModel"),
    read("/v1/health/{model}", Models, "How a model's candidates fared over a time.").query("window").gives("HealthHistory"),
    // What requests came to.
    read("/v1/receipts", Receipts, "Receipts, newest first.").query(FILTERS).gives("ReceiptPage").types(EXPORTS),
    read("/v1/receipts/{id}", Receipts, "One receipt.").gives("Receipt"),
    read("/v1/generation", Receipts, "A receipt in OpenRouter's fields.").query("id").gives("Generation"),
    read("/v1/activity", Receipts, "What was spent, by day, and why it changed.").query(SPEND).gives("Activity"),
    read("/v1/runs", Receipts, "The runs of the account.").query("limit after").gives("RunSummaryPage"),
    write("/v1/runs", Receipts, "Opens a run, with a budget if it is to have one.").takes("NewRun").makes("Run"),
    read("/v1/runs/{id}", Receipts, "What the requests of a run came to.").gives("Run"),
    // Balances.
    read("/v1/ledger", Money, "Changes of the balances, newest first.").query(ENTRY_FILTERS).gives("EntryPage").types(EXPORTS),
    read("/v1/balances", Money, "What is in each bucket.").gives("Balances"),
    read("/v1/credits", Money, "What came in and what was used, in OpenRouter's fields.").gives("Credits"),
    read("/v1/key", Money, "The key's policy and what is left of its budgets.").gives("KeyInfo"),
    read("/v1/topups", Money, "Orders, newest first.").query("limit after").gives("OrderPage"),
    write("/v1/topups", Money, "Orders an addition to a balance.").takes("NewOrder").makes("Order"),
    read("/v1/topups/{id}", Money, "One order.").gives("Order"),
    write("/v1/redeem", Money, "Credits a redeem code.").takes("Redeem").gives("Redeemed"),
    Row::new("POST", "/webhooks/stripe", (Signature, Money), "Takes the payment provider's messages.")
        .takes("StripeEvent")
        .gives("Received"),
    // Administration.
    admin("GET", "/admin/v1/accounts", "Accounts with their balances.").query("limit_accounts after").gives("AccountPage"),
    admin("POST", "/admin/v1/accounts", "Opens an account.").takes("NewAccount").makes("Account"),
    admin("GET", "/admin/v1/accounts/{account}", "One account.").gives("Account"),
    admin("GET", "/admin/v1/accounts/{account}/projects", "The projects of an account.").gives("ProjectPage"),
    admin("POST", "/admin/v1/accounts/{account}/projects", "Makes or replaces a project.").takes("NewProject").makes("Project"),
    admin("GET", "/admin/v1/accounts/{account}/keys", "The keys of an account.").gives("KeyPage"),
    admin("POST", "/admin/v1/accounts/{account}/keys", "Makes a key; the answer has its secret, this once.")
        .takes("NewKey")
        .makes("NewKeyMade"),
    admin("PATCH", "/admin/v1/accounts/{account}/keys/{key}", "Changes a key's policy or label.").takes("KeyChange").gives("Key"),
    admin("DELETE", "/admin/v1/accounts/{account}/keys/{key}", "Revokes a key, effective at once.")
        .query("author reason")
        .gives("Key"),
    admin("DELETE", "/admin/v1/accounts/{account}/sessions", "Ends the sessions of an account or a key, effective at once.")
        .query("key author reason")
        .gives("SessionsEnded"),
    admin("POST", "/admin/v1/accounts/{account}/adjustments", "Credits, or debits with a negative amount.")
        .takes("NewAdjustment")
        .makes("Adjusted"),
    admin("GET", "/admin/v1/accounts/{account}/receipts/{id}", "One receipt of an account, by the id of its answer.")
        .gives("Receipt"),
    admin("GET", "/admin/v1/accounts/{account}/topups", "Orders of an account.").query("limit after").gives("WholeOrderPage"),
    admin("GET", "/admin/v1/accounts/{account}/topups/{order}", "One order of an account.").gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/approve", "Approves an order.")
        .takes("Verdict")
        .gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/reject", "Rejects an order.").takes("Verdict").gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/refunds", "Books that a payment was given back.")
        .takes("NewRefund")
        .makes("WholeOrder"),
    admin("GET", "/admin/v1/topups", "Orders of all accounts in one state.").query("limit after state").gives("WholeOrderPage"),
    admin("GET", "/admin/v1/codes", "Redeem codes, newest first.").query("limit after").gives("CodePage"),
    admin("POST", "/admin/v1/codes", "Makes redeem codes; the answer has them, this once.")
        .takes("NewCodes")
        .makes("NewCodesMade"),
    admin("DELETE", "/admin/v1/codes/{id}", "Ends a code that nobody has taken.").query("author reason").gives("CodeRevoked"),
    admin("GET", "/admin/v1/receipts", "Receipts of all accounts.").query(ALL_FILTERS).gives("ReceiptPage").types(EXPORTS),
    admin("GET", "/admin/v1/ledger", "Ledger entries of all accounts.").query(ALL_FILTERS).gives("EntryPage").types(EXPORTS),
    admin("GET", "/admin/v1/audit", "What was done, by whom and why.").query(ALL_FILTERS).gives("RecordPage").types(EXPORTS),
    admin("GET", "/admin/v1/spend", "What was spent, over all accounts, and why it changed.").query(ALL_SPEND).gives("Spend"),
    admin("GET", "/admin/v1/reconcile", "Compares journals with themselves and with their copy.")
        .query("limit after account from")
        .gives("Reconciled"),
    admin("GET", "/admin/v1/catalog", "The running catalogue.").gives("Catalog"),
    admin("PUT", "/admin/v1/catalog", "Checks a catalogue, and publishes or announces it.")
        .query("author reason effective_at dry_run")
        .takes("Catalog")
        .gives("Published"),
    admin("GET", "/admin/v1/catalog/announced", "The catalogue that is to take effect.").gives("CatalogVersionWhole"),
    admin("DELETE", "/admin/v1/catalog/announced", "Withdraws it.").query("author reason").gives("Withdrawn"),
    admin("GET", "/admin/v1/catalog/versions", "Versions of the catalogue, newest first.")
        .query("limit after")
        .gives("CatalogVersionPage"),
    admin("GET", "/admin/v1/catalog/versions/{version}", "One version with its document.").gives("CatalogVersionWhole"),
    admin("GET", "/admin/v1/health", "The health of every candidate.").gives("CandidateHealthPage"),
    admin("POST", "/admin/v1/probe", "Runs one probe round now.").takes("Signature").gives("ProbeResultPage"),
    admin("GET", "/admin/v1/tokens", "Tokens of operators, newest first.").query("limit after").gives("TokenPage"),
    admin("POST", "/admin/v1/tokens", "Makes a token with a name and scopes; the answer has its secret, this once.")
        .takes("NewToken")
        .makes("NewTokenMade"),
    admin("DELETE", "/admin/v1/tokens/{token}", "Revokes a token, effective at once.")
        .query("author reason")
        .gives("RevokedToken"),
    admin("GET", "/admin/v1/attempts", "Failed attempts to administer, by hour and address.")
        .query("limit after")
        .gives("AttemptsPage"),
    // The gateway itself, and its pages.
    Row::new("GET", "/healthz", (Anyone, Gateway), "Whether the Worker answers.").gives("Ok"),
    Row::new("GET", "/openapi.json", (Anyone, Gateway), "This interface as an OpenAPI document.").gives("OpenApi"),
    Row::new("GET", "/models.json", (Anyone, Pages), "The models, callable or not, as anyone sees them.").gives("PageModelList"),
    Row::new("GET", "/models/{model}.json", (Anyone, Pages), "One model, as anyone sees it.").gives("Model"),
    Row::new("GET", "/status.json", (Anyone, Pages), "How every route fares.").gives("StatusReport"),
    page("/", "The start."),
    page("/models", "The models that are sold."),
    page("/models/{model}", "One model."),
    page("/status", "How every route fares."),
    page("/status.atom", "What went wrong lately.").types("application/atom+xml"),
    page("/login", "Where a key is entered."),
    Row::new("POST", "/login", (Anyone, Pages), "Begins a session.").body(Body::Page("Login")).status(303),
    Row::new("POST", "/logout", (Anyone, Pages), "Ends the session.").status(303),
    page("/sitemap.xml", "The pages, for search engines.").types("application/xml"),
    page("/llms.txt", "The gateway in Markdown, for models.").types("text/plain"),
    page("/robots.txt", "What robots may read.").types("text/plain"),
    page("/favicon.svg", "The picture of the pages.").types("image/svg+xml"),
    page("/style.css", "The style of the pages.").types("text/css"),
    page("/script.js", "The script of the pages.").types("text/javascript"),
];

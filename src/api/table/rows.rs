//! The rows of the table. Where two templates fit a path, the one that stands first is meant.

use super::row::About::{Administration, Anthropic, Gateway, Gemini, Models, Money, Openai, Pages, Receipts};
use super::row::{About, Body, Handler, Row, SWITCHING, SitePage};
use crate::app::UseCase::{self, *};

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
    Row::new("POST", path, (Handler::Model, about), summary)
}

const fn gemini(path: &'static str, summary: &'static str) -> Row {
    ask(path, Gemini, summary).takes("GenerateRequest").gives("GenerateAnswer")
}

const fn read(path: &'static str, use_case: UseCase, about: About, summary: &'static str) -> Row {
    Row::new("GET", path, (Handler::Use(use_case), about), summary)
}

const fn write(path: &'static str, use_case: UseCase, about: About, summary: &'static str) -> Row {
    Row::new("POST", path, (Handler::Use(use_case), about), summary)
}

const fn admin(method: &'static str, path: &'static str, use_case: UseCase, summary: &'static str) -> Row {
    Row::new(method, path, (Handler::Use(use_case), Administration), summary)
}

const fn page(path: &'static str, page: SitePage, summary: &'static str) -> Row {
    Row::new("GET", path, (Handler::Page(page), Pages), summary).types(HTML)
}

const fn file(path: &'static str, summary: &'static str) -> Row {
    Row::new("GET", path, (Handler::File, Pages), summary)
}

/// Every endpoint. What a placeholder stands for may have no slash, but for a model's id.
pub const TABLE: &[Row] = &[
    // Asking models.
    ask("/v1/chat/completions", Openai, "Asks a model for text.").takes("ChatRequest").gives("ChatAnswer").types(EVENTS),
    ask("/v1/completions", Openai, "Asks a model to go on with a text.").takes("TextRequest").gives("ChatAnswer").types(EVENTS),
    ask("/v1/responses", Openai, "Asks a model for a response.").takes("ResponsesRequest").gives("ResponsesAnswer").types(EVENTS),
    Row::new(
        "GET",
        "/v1/responses",
        (Handler::Socket, Openai),
        "Opens a WebSocket, over which responses are asked for one after the other.",
    )
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
    write("/v1/route", ExplainRoute, Models, "Explains what would happen to a request; sends and spends nothing.")
        .query("endpoint")
        .takes("AnyRequest")
        .gives("RoutePlan"),
    read("/v1/models", ListModels, Models, "The models that this key can call now.").query("include").gives("ModelList"),
    read("/v1/models/{model}/endpoints", ListEndpoints, Models, "The routes of a model with the health of each candidate.")
        .gives("ModelEndpoints"),
    read("/v1/models/{model}", ShowModel, Models, "One model by name or alias, callable or not.").gives("ModelAnswer"),
    read("/v1beta/models", ListModels, Models, "The same list in Gemini's shape.").query("include").gives("GeminiModelList"),
    read("/v1beta/models/{model}", ShowModel, Models, "The same model in Gemini's shape.").gives("GeminiModel"),
    read("/v1/health/{model}", ShowHealth, Models, "How a model's candidates fared over a time.")
        .query("window")
        .gives("HealthHistory"),
    // What requests came to.
    read("/v1/receipts", ListReceipts, Receipts, "Receipts, newest first.").query(FILTERS).gives("ReceiptPage").types(EXPORTS),
    read("/v1/receipts/{id}", ShowReceipt, Receipts, "One receipt.").gives("Receipt"),
    read("/v1/generation", ShowGeneration, Receipts, "A receipt in OpenRouter's fields.").query("id").gives("Generation"),
    read("/v1/activity", ShowActivity, Receipts, "What was spent, by day, and why it changed.").query(SPEND).gives("Activity"),
    read("/v1/runs", ListRuns, Receipts, "The runs of the account.").query("limit after").gives("RunSummaryPage"),
    write("/v1/runs", OpenRun, Receipts, "Opens a run, with a budget if it is to have one.").takes("NewRun").makes("Run"),
    read("/v1/runs/{id}", ShowRun, Receipts, "What the requests of a run came to.").gives("Run"),
    // Balances.
    read("/v1/ledger", ListEntries, Money, "Changes of the balances, newest first.")
        .query(ENTRY_FILTERS)
        .gives("EntryPage")
        .types(EXPORTS),
    read("/v1/balances", ShowBalances, Money, "What is in each bucket.").gives("Balances"),
    read("/v1/credits", ShowCredits, Money, "What came in and what was used, in OpenRouter's fields.").gives("Credits"),
    read("/v1/key", ShowKey, Money, "The key's policy and what is left of its budgets.").gives("KeyInfo"),
    read("/v1/topups", ListOrders, Money, "Orders, newest first.").query("limit after").gives("OrderPage"),
    write("/v1/topups", PlaceOrder, Money, "Orders an addition to a balance.").takes("NewOrder").makes("Order"),
    read("/v1/topups/{id}", ShowOrder, Money, "One order.").gives("Order"),
    write("/v1/redeem", RedeemCode, Money, "Credits a redeem code.").takes("Redeem").gives("Redeemed"),
    Row::new("POST", "/webhooks/stripe", (Handler::Stripe, Money), "Takes the payment provider's messages.")
        .takes("StripeEvent")
        .gives("Received"),
    // Administration.
    admin("GET", "/admin/v1/accounts", ListAccounts, "Accounts with their balances.")
        .query("limit_accounts after")
        .gives("AccountPage"),
    admin("POST", "/admin/v1/accounts", OpenAccount, "Opens an account.").takes("NewAccount").makes("Account"),
    admin("GET", "/admin/v1/accounts/{account}", ShowAccount, "One account.").gives("Account"),
    admin("GET", "/admin/v1/accounts/{account}/projects", ListProjects, "The projects of an account.").gives("ProjectPage"),
    admin("POST", "/admin/v1/accounts/{account}/projects", PutProject, "Makes or replaces a project.")
        .takes("NewProject")
        .makes("Project"),
    admin("GET", "/admin/v1/accounts/{account}/keys", ListKeys, "The keys of an account.").gives("KeyPage"),
    admin("POST", "/admin/v1/accounts/{account}/keys", MakeKey, "Makes a key; the answer has its secret, this once.")
        .takes("NewKey")
        .makes("NewKeyMade"),
    admin("PATCH", "/admin/v1/accounts/{account}/keys/{key}", ChangeKey, "Changes a key's policy or label.")
        .takes("KeyChange")
        .gives("Key"),
    admin("DELETE", "/admin/v1/accounts/{account}/keys/{key}", RevokeKey, "Revokes a key, effective at once.")
        .query("author reason")
        .gives("Key"),
    admin(
        "DELETE",
        "/admin/v1/accounts/{account}/sessions",
        EndSessions,
        "Ends the sessions of an account or a key, effective at once.",
    )
    .query("key author reason")
    .gives("SessionsEnded"),
    admin("POST", "/admin/v1/accounts/{account}/adjustments", Adjust, "Credits, or debits with a negative amount.")
        .takes("NewAdjustment")
        .makes("Adjusted"),
    admin(
        "GET",
        "/admin/v1/accounts/{account}/receipts/{id}",
        ShowReceiptOf,
        "One receipt of an account, by the id of its answer.",
    )
    .gives("Receipt"),
    admin("GET", "/admin/v1/accounts/{account}/topups", ListOrdersOf, "Orders of an account.")
        .query("limit after")
        .gives("WholeOrderPage"),
    admin("GET", "/admin/v1/accounts/{account}/topups/{order}", ShowOrderOf, "One order of an account.").gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/approve", ApproveOrder, "Approves an order.")
        .takes("Verdict")
        .gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/reject", RejectOrder, "Rejects an order.")
        .takes("Verdict")
        .gives("WholeOrder"),
    admin("POST", "/admin/v1/accounts/{account}/topups/{order}/refunds", RefundOrder, "Books that a payment was given back.")
        .takes("NewRefund")
        .makes("WholeOrder"),
    admin("GET", "/admin/v1/topups", ListAllOrders, "Orders of all accounts in one state.")
        .query("limit after state")
        .gives("WholeOrderPage"),
    admin("GET", "/admin/v1/codes", ListCodes, "Redeem codes, newest first.").query("limit after").gives("CodePage"),
    admin("POST", "/admin/v1/codes", MakeCodes, "Makes redeem codes; the answer has them, this once.")
        .takes("NewCodes")
        .makes("NewCodesMade"),
    admin("DELETE", "/admin/v1/codes/{id}", RevokeCode, "Ends a code that nobody has taken.")
        .query("author reason")
        .gives("CodeRevoked"),
    admin("GET", "/admin/v1/receipts", ListAllReceipts, "Receipts of all accounts.")
        .query(ALL_FILTERS)
        .gives("ReceiptPage")
        .types(EXPORTS),
    admin("GET", "/admin/v1/ledger", ListAllEntries, "Ledger entries of all accounts.")
        .query(ALL_FILTERS)
        .gives("EntryPage")
        .types(EXPORTS),
    admin("GET", "/admin/v1/audit", ListAudit, "What was done, by whom and why.")
        .query(ALL_FILTERS)
        .gives("RecordPage")
        .types(EXPORTS),
    admin("GET", "/admin/v1/spend", ShowSpend, "What was spent, over all accounts, and why it changed.")
        .query(ALL_SPEND)
        .gives("Spend"),
    admin("GET", "/admin/v1/reconcile", Reconcile, "Compares journals with themselves and with their copy.")
        .query("limit after account from")
        .gives("Reconciled"),
    admin("GET", "/admin/v1/catalog", ShowCatalogue, "The running catalogue.").gives("Catalog"),
    admin("PUT", "/admin/v1/catalog", PublishCatalogue, "Checks a catalogue, and publishes or announces it.")
        .query("author reason effective_at dry_run")
        .takes("Catalog")
        .gives("Published"),
    admin("GET", "/admin/v1/catalog/announced", ShowAnnounced, "The catalogue that is to take effect.")
        .gives("CatalogVersionWhole"),
    admin("DELETE", "/admin/v1/catalog/announced", WithdrawAnnounced, "Withdraws it.").query("author reason").gives("Withdrawn"),
    admin("GET", "/admin/v1/catalog/versions", ListVersions, "Versions of the catalogue, newest first.")
        .query("limit after model")
        .gives("CatalogVersionPage"),
    admin("GET", "/admin/v1/catalog/versions/{version}", ShowVersion, "One version with its document.")
        .gives("CatalogVersionWhole"),
    admin("GET", "/admin/v1/health", ListCandidates, "The health of every candidate.").gives("CandidateHealthPage"),
    admin("POST", "/admin/v1/probe", Probe, "Runs one probe round now.").takes("Signature").gives("ProbeResultPage"),
    admin("GET", "/admin/v1/tokens", ListTokens, "Tokens of operators, newest first.").query("limit after").gives("TokenPage"),
    admin("POST", "/admin/v1/tokens", MakeToken, "Makes a token with a name and scopes; the answer has its secret, this once.")
        .takes("NewToken")
        .makes("NewTokenMade"),
    admin("DELETE", "/admin/v1/tokens/{token}", RevokeToken, "Revokes a token, effective at once.")
        .query("author reason")
        .gives("RevokedToken"),
    admin("GET", "/admin/v1/attempts", ListAttempts, "Failed attempts to administer, by hour and address.")
        .query("limit after")
        .gives("AttemptsPage"),
    // The gateway itself, and its pages.
    Row::new("GET", "/healthz", (Handler::Alive, Gateway), "Whether the Worker answers.").gives("Ok"),
    Row::new("GET", "/openapi.json", (Handler::File, Gateway), "This interface as an OpenAPI document.").gives("OpenApi"),
    Row::new(
        "GET",
        "/models.json",
        (Handler::Page(SitePage::ModelsJson), Pages),
        "The models, callable or not, as anyone sees them.",
    )
    .gives("PageModelList"),
    Row::new("GET", "/models/{model}.json", (Handler::Page(SitePage::ModelJson), Pages), "One model, as anyone sees it.")
        .gives("Model"),
    Row::new("GET", "/status.json", (Handler::Page(SitePage::StatusJson), Pages), "How every route fares.").gives("StatusReport"),
    page("/", SitePage::Home, "The start."),
    page("/models", SitePage::Models, "The models that are sold."),
    page("/models/{model}", SitePage::Model, "One model."),
    page("/status", SitePage::Status, "How every route fares."),
    page("/status.atom", SitePage::Feed, "What went wrong lately.").types("application/atom+xml"),
    page("/login", SitePage::Login, "Where a key is entered."),
    Row::new("POST", "/login", (Handler::Page(SitePage::SignIn), Pages), "Begins a session.")
        .body(Body::Page("Login"))
        .status(303),
    Row::new("POST", "/logout", (Handler::Page(SitePage::SignOut), Pages), "Ends the session.").status(303),
    page("/sitemap.xml", SitePage::Sitemap, "The pages, for search engines.").types("application/xml"),
    page("/llms.txt", SitePage::Llms, "The gateway in Markdown, for models.").types("text/plain"),
    page("/robots.txt", SitePage::Robots, "What robots may read.").types("text/plain"),
    file("/favicon.svg", "The picture of the pages.").types("image/svg+xml"),
    file("/style.css", "The style of the pages.").types("text/css"),
    file("/script.js", "The script of the pages.").types("text/javascript"),
];

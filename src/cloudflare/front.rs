//! One request in the hands of the driver: its tasks run here, and what they ask of the platform is an effect of the driver's.
//!
//! What always holds: tasks run only while the driver is inside one of the calls below, so that every effect belongs to the request
//! that asked for it; an effect that nobody waits for any more is cancelled; the front is over when all of its tasks are.
//! Deliberately absent: what the effects are for.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_channel::oneshot;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::platform::Call;
use super::{clock, texts};
use crate::relay::{Reply, ReplyBody};
use crate::time::Timestamp;

/// What the driver answers to an effect.
#[derive(Debug)]
pub enum Answer {
    /// A text, with a status where it has one.
    Text(u16, String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// There is no more, or it did not come in time, or the time is over.
    Nothing,
    /// It failed, and whether it may be tried again.
    Failed(String, bool),
}

/// Bytes up to this many are known again when they go out as they came in.
const LONGEST_KNOWN: usize = 16 * 1024;

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Pieces = Pin<Box<dyn futures_util::Stream<Item = Result<Vec<u8>, String>>>>;

thread_local! {
    /// The requests that are not over, so that what wakes a task finds them.
    static OPEN: RefCell<HashMap<u32, Call>> = RefCell::new(HashMap::new());
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

/// One request.
pub struct Front {
    call: Call,
    now: Cell<Timestamp>,
    bell: Arc<Bell>,
    tasks: RefCell<FuturesUnordered<Task>>,
    /// Those that were begun by others just now.
    begun: RefCell<Vec<Task>>,
    effects: Cell<u32>,
    waiting: RefCell<HashMap<u32, oneshot::Sender<Answer>>>,
    /// Ends what the client waits for.
    answering: RefCell<Option<AbortHandle>>,
    /// Wakes what makes the next piece of a stream.
    pulled: RefCell<Option<oneshot::Sender<()>>>,
    is_pulled: Cell<bool>,
    /// The last bytes that came in, to know them again.
    last: RefCell<Vec<u8>>,
    /// Bytes of fetches that nobody has asked for yet.
    ahead: RefCell<VecDeque<(u32, Vec<u8>)>>,
}

/// Rings when a task can go on: while tasks run, they are simply looked at again; otherwise the driver is asked to.
struct Bell {
    id: u32,
    is_running: AtomicBool,
    is_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let was_rung = self.is_rung.swap(true, Ordering::Relaxed);
        if !was_rung && !self.is_running.load(Ordering::Relaxed) {
            OPEN.with_borrow(|open| open.get(&self.id).map(Call::wake));
        }
    }
}

impl Front {
    /// A request whose tasks are begun by `begin`.
    pub fn new(call: Call) -> Rc<Self> {
        let id = NEXT.replace(NEXT.get().wrapping_add(1));
        OPEN.with_borrow_mut(|open| open.insert(id, call.clone()));
        Rc::new(Self {
            call,
            now: Cell::new(clock::now()),
            bell: Arc::new(Bell { id, is_running: AtomicBool::new(false), is_rung: AtomicBool::new(false) }),
            tasks: RefCell::default(),
            begun: RefCell::default(),
            effects: Cell::new(0),
            waiting: RefCell::default(),
            answering: RefCell::default(),
            pulled: RefCell::default(),
            is_pulled: Cell::new(false),
            last: RefCell::default(),
            ahead: RefCell::default(),
        })
    }

    /// The time at which the driver called.
    pub fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// What the driver does for this request.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Begins a task, which goes on even if the client leaves.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.begun.borrow_mut().push(Box::pin(task));
    }

    /// Begins what the client waits for, which is dropped when the client leaves.
    pub fn answer(self: &Rc<Self>, reply: impl Future<Output = Option<Reply>> + 'static) {
        let front = Rc::clone(self);
        self.spawn_answering(async move {
            let Some(reply) = reply.await else { return };
            let headers = texts::ended(reply.headers.iter().flat_map(|(name, value)| [*name, value.as_str()]));
            match reply.body {
                ReplyBody::Full(bytes) => front.call.reply(reply.status, &headers, &bytes),
                ReplyBody::Stream(pieces) => {
                    front.call.stream(reply.status, &headers);
                    front.pump(pieces).await;
                }
            }
        });
    }

    fn spawn_answering(&self, task: impl Future<Output = ()> + 'static) {
        let (task, handle) = abortable(task);
        *self.answering.borrow_mut() = Some(handle);
        self.spawn(async move {
            let _ = task.await;
        });
    }

    /// Hands a stream to the driver, a piece at a time, as it is read.
    async fn pump(&self, pieces: Pieces) {
        // There is nothing to hand over of what is empty, and the client goes on waiting.
        let mut pieces = pieces.filter(|piece| ready(piece.as_ref().map_or(true, |piece| !piece.is_empty())));
        loop {
            self.until_pulled().await;
            match pieces.next().await {
                Some(Ok(piece)) if piece == *self.last.borrow() => self.call.same(),
                Some(Ok(piece)) => self.call.chunk(&piece),
                Some(Err(what)) => return self.call.broke(&what),
                None => return self.call.end(),
            }
        }
    }

    async fn until_pulled(&self) {
        if self.is_pulled.replace(false) {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        *self.pulled.borrow_mut() = Some(sender);
        let _ = receiver.await;
        self.is_pulled.set(false);
    }

    /// Asks the driver for something, under a number of its own.
    pub fn ask(self: &Rc<Self>, begin: impl FnOnce(&Call, u32)) -> Effect {
        let id = self.effects.replace(self.effects.get().wrapping_add(1));
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, sender);
        begin(&self.call, id);
        Effect { front: Rc::clone(self), id, receiver, is_over: false }
    }

    /// Waits.
    pub fn sleep(self: &Rc<Self>, ms: u32) -> impl Future<Output = ()> + 'static {
        let timer = self.ask(|call, effect| call.sleep(effect, ms));
        async move {
            timer.await;
        }
    }

    /// The driver tells something, and the tasks go on; whether all are over.
    pub fn enter(&self, now: Timestamp, told: impl FnOnce(&Self)) -> bool {
        // What this wakes is looked at below, and need not ask to be.
        self.bell.is_running.store(true, Ordering::Relaxed);
        self.now.set(now);
        told(self);
        self.run()
    }

    /// There is something for an effect.
    pub fn answered(&self, effect: u32, answer: Answer) {
        if let Some(sender) = self.waiting.borrow_mut().remove(&effect) {
            if let Answer::Bytes(bytes) = &answer {
                self.remember(bytes);
            }
            let _ = sender.send(answer);
        }
    }

    fn remember(&self, bytes: &Vec<u8>) {
        self.last.borrow_mut().clone_from(if bytes.len() <= LONGEST_KNOWN { bytes } else { const { &Vec::new() } });
    }

    /// There are bytes of a fetch, before they are asked for.
    pub fn arrived(&self, of: u32, bytes: Vec<u8>) {
        self.remember(&bytes);
        self.ahead.borrow_mut().push_back((of, bytes));
    }

    /// The next bytes of a fetch, if there are any already.
    pub fn ahead(&self, of: u32) -> Option<Vec<u8>> {
        let mut ahead = self.ahead.borrow_mut();
        let at = ahead.iter().position(|(whose, _)| *whose == of)?;
        ahead.remove(at).map(|(_, bytes)| bytes)
    }

    /// The client has room for the next piece of a stream.
    pub fn pull(&self) {
        self.is_pulled.set(true);
        if let Some(sender) = self.pulled.take() {
            let _ = sender.send(());
        }
    }

    /// The client is gone: what it waited for is dropped.
    pub fn gone(&self) {
        if let Some(answering) = self.answering.take() {
            answering.abort();
        }
    }

    /// Lets the tasks go on as far as they can; whether all are over.
    fn run(&self) -> bool {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        let is_over = loop {
            self.bell.is_rung.store(false, Ordering::Relaxed);
            let begun = self.begun.take();
            let mut tasks = self.tasks.borrow_mut();
            tasks.extend(begun);
            match tasks.poll_next_unpin(&mut context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) if self.begun.borrow().is_empty() => break true,
                Poll::Pending if self.begun.borrow().is_empty() && !self.bell.is_rung.load(Ordering::Relaxed) => break false,
                Poll::Ready(None) | Poll::Pending => {}
            }
        };
        self.bell.is_running.store(false, Ordering::Relaxed);
        if is_over {
            OPEN.with_borrow_mut(|open| open.remove(&self.bell.id));
        }
        is_over
    }
}

/// Something that the driver was asked for. Dropping it cancels it.
pub struct Effect {
    front: Rc<Front>,
    id: u32,
    receiver: oneshot::Receiver<Answer>,
    is_over: bool,
}

impl Effect {
    /// Its number, by which the driver knows what came of it.
    pub const fn id(&self) -> u32 {
        self.id
    }
}

impl Future for Effect {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = Pin::new(&mut self.receiver).poll(context);
        answer.map(|answer| {
            self.is_over = true;
            answer.unwrap_or(Answer::Nothing)
        })
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        if !self.is_over {
            self.front.waiting.borrow_mut().remove(&self.id);
            self.front.call.cancel(self.id);
        }
    }
}

//! The debug text of every public type is short, and shows no value of a node.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path as FilePath;

use xs_client::{Client, DomId, ErrorCode, Path, futures};
use xs_proto::{MessageType, Reply, Request, TxId};
use xs_transport::mock::{self, Fault, Kernel, Xenstored, text};

/// A value that no debug text may show.
const SECRET: &str = "secret-value";

/// The limits of a debug text.
const MOST_LINES: usize = 5;
const MOST_BYTES: usize = 400;

/// The types that were shown, each with its name in the public API.
#[derive(Default)]
struct Shown(BTreeSet<String>);

impl Shown {
    /// Checks the debug text of a value, and notes its type.
    fn check(&mut self, name: &str, value: &dyn Debug) {
        let (short, long) = (format!("{value:?}"), format!("{value:#?}"));
        for text in [&short, &long] {
            assert!(!text.contains(SECRET), "{name}: {text}");
            // A derived implementation shows bytes as numbers.
            let numbers: String = text.split_whitespace().collect();
            assert!(!numbers.contains("115,101,99,114,101,116"), "{name}: {text}");
        }
        assert!(short.lines().count() <= MOST_LINES, "{name}: {short}");
        assert!(short.len() <= MOST_BYTES, "{name}, {} bytes: {short}", short.len());
        self.0.insert(name.split('<').next().unwrap_or(name).replace(' ', ""));
    }
}

/// Shows values, each of which has to be of the type in front of it.
macro_rules! show {
    ($shown:ident: $($ty:ty = $value:expr;)*) => {
        $({
            let value: &$ty = &$value;
            $shown.check(stringify!($ty), value);
        })*
    };
}

/// A client that has written and read a value, which is still in its buffers.
fn used_client(xenstored: &Xenstored) -> Client {
    let client = Client::from_transport(xenstored.connect(DomId::DOM0));
    client.write("/a", SECRET).unwrap();
    client.read("/a").unwrap();
    client
}

fn proto(shown: &mut Shown) {
    use xs_proto::*;

    let path = Path::new("/a").unwrap();
    let perms = Permissions::owned_by(DomId::DOM0).with(DomId::new(5), Access::Read);
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 12 };
    let message = [&header.encode()[..], SECRET.as_bytes()].concat();
    let mut client = ClientConnection::new(Limits::default());
    client.submit(TxId::NONE, &Request::Write { path, value: SECRET.as_bytes() }, "key").unwrap();
    client.receive(&message[..20]).unwrap();
    let mut server = ServerConnection::new();
    server.reply(header, &Reply::Value(SECRET.as_bytes().into())).unwrap();
    let incoming = Incoming { header, payload: SECRET.as_bytes() };
    let mut decoder = Decoder::for_client();
    let decoded = decoder.decode(&message).unwrap();
    let event = || Event::Reply {
        req_id: ReqId(1),
        key: "key",
        reply: Reply::Value(SECRET.as_bytes().into()),
    };
    let strings = || Strings::from_list([SECRET]).unwrap();
    let control = Request::Control(strings());
    let state = Some(XenbusState::Connected);
    let nodes = handshake::BackendNodes { state, frontend_state: state, online: true };
    let mut backend = handshake::Backend::new();
    backend.handle_nodes(nodes);
    show! { shown:
        xs_proto::Access = Access::Read;
        xs_proto::ClientConnection<&str> = client;
        xs_proto::ConnectionError = ConnectionError::Payload {
            msg_type: MessageType::Read,
            cause: PayloadError::Number,
        };
        xs_proto::Decoded<'_> = decoded;
        xs_proto::DomId = DomId::DOM0;
        xs_proto::ErrorCode = ErrorCode::Other("ENEW".into());
        xs_proto::Event<'_, &str> = event();
        xs_proto::Event<'_, &str> = Event::Watch { path: "/a", token: b"token" };
        xs_proto::Features = xs_proto::Features::ERROR;
        xs_proto::Frame<'_> = decoded.frame.unwrap();
        xs_proto::FrameError = FrameError { msg_type: 2, len: 5000, max: 4096 };
        xs_proto::Header = header;
        xs_proto::Incoming<'_> = incoming;
        xs_proto::Limits = Limits::default();
        xs_proto::MessageType = MessageType::Read;
        xs_proto::ParseDomIdError = ParseDomIdError;
        xs_proto::ParsePermissionError = ParsePermissionError;
        xs_proto::Path<'_> = path;
        xs_proto::PathError = PathError::Character { at: 1, byte: 0 };
        xs_proto::PayloadError = PayloadError::Path(PathError::Empty);
        xs_proto::Permission = perms.owner();
        xs_proto::Permissions = perms;
        xs_proto::Quota = xs_proto::Quota::Nodes;
        xs_proto::Received<Event<'_, &str>> = Received { consumed: 28, event: Some(event()) };
        xs_proto::Reply<'_> = Reply::Value(SECRET.as_bytes().into());
        xs_proto::Reply<'_> = Reply::Text(SECRET.into());
        xs_proto::Reply<'_> = Reply::Children(strings());
        xs_proto::Reply<'_> = Reply::Part { generation: 1, children: strings(), last: true };
        xs_proto::Reply<'_> = Reply::StrangePermissions(strings());
        xs_proto::Reply<'_> = Reply::Permissions(perms.clone());
        xs_proto::ReqId = ReqId(1);
        xs_proto::Request<'_> = Request::Write { path, value: SECRET.as_bytes() };
        xs_proto::Request<'_> = control;
        xs_proto::RequestError = RequestError::TooLong { len: 5000, max: 4096 };
        xs_proto::ServerConnection = server;
        xs_proto::Strings<'_> = strings();
        xs_proto::SubmitError = SubmitError::Full;
        xs_proto::TxId = TxId(1);
        xs_proto::ParseXenbusStateError = ParseXenbusStateError::UnknownNumber(9);
        xs_proto::XenbusState = XenbusState::Connected;
        xs_proto::handshake::Action = handshake::Action::Connect;
        xs_proto::handshake::Backend = backend;
        xs_proto::handshake::BackendNodes = nodes;
        xs_proto::handshake::Frontend = handshake::Frontend::new();
        xs_proto::handshake::FrontendNodes =
            handshake::FrontendNodes { state: None, backend_state: Some(XenbusState::Closed) };
    }
    show! { shown: xs_proto::Decoder = decoder; }
}

fn rings(shown: &mut Shown) {
    use xs_proto::ring::*;

    let page = RingPage::new();
    let mut client = RingClient::new(&page);
    client.send(SECRET.as_bytes()).unwrap();
    let server = RingServer::new(&page, xs_proto::Features::NONE).unwrap();
    show! { shown:
        xs_proto::ring::Field = Field::Connection;
        xs_proto::ring::Ring = Ring::Requests;
        xs_proto::ring::RingClient<&RingPage> = client;
        xs_proto::ring::RingError = RingError::GivenUp(ServerError::Protocol);
        xs_proto::ring::RingPage = page;
        xs_proto::ring::RingServer<&RingPage> = server;
        xs_proto::ring::ServerError = ServerError::Unknown(9);
    }
}

fn ring_transports(shown: &mut Shown) {
    use xs_proto::ring::RingPage;
    use xs_transport::Transport;
    use xs_transport::ring::*;

    let (channel, _peer) = MemoryChannel::pair();
    let endpoint = RingEndpoint::new(RingPage::new(), channel, "a ring");
    let transport = endpoint.connect().unwrap();
    transport.send(SECRET.as_bytes()).unwrap();
    let (stream, _peer) = UnixStream::pair().unwrap();
    let zeros = fs::File::options().read(true).write(true).open("/dev/zero").unwrap();
    show! { shown:
        xs_transport::ring::EvtchnChannel = EvtchnChannel::from_fd(stream.into(), 7).unwrap();
        xs_transport::ring::MappedPage = MappedPage::map(zeros, 0).unwrap();
        xs_transport::ring::MemoryChannel = MemoryChannel::pair().0;
        xs_transport::ring::RingEndpoint<RingPage, MemoryChannel> = endpoint;
        xs_transport::ring::RingTransport<RingPage, MemoryChannel> = transport;
    }
}

fn transport(shown: &mut Shown) {
    use xs_transport::*;

    let (stream, _peer) = UnixStream::pair().unwrap();
    let unix = UnixTransport::new(stream, "a pair").unwrap();
    let (stream, _peer) = UnixStream::pair().unwrap();
    let xenbus = XenbusTransport::from_fd(stream.into(), "a pair").unwrap();
    let mut drive = Drive::new(Xenstored::new().connect(DomId::DOM0), 4096);
    let write = Request::Write { path: Path::new("/a").unwrap(), value: SECRET.as_bytes() };
    drive.connection().submit(TxId::NONE, &write, "key").unwrap();
    let tried = discover::DEVICES
        .iter()
        .map(|path| ((*path).to_owned(), io::Error::from_raw_os_error(libc::ENOENT)));
    show! { shown:
        xs_transport::Drive<&str> = drive;
        xs_transport::Failure = Failure::Io(io::Error::from_raw_os_error(libc::EPIPE).into());
        xs_transport::Interest = Interest::Both;
        xs_transport::Process = Process::current();
        xs_transport::mock::host::DomainState = mock::host::DomainState::Running;
        xs_transport::mock::host::HostEvent = mock::host::HostEvent::Introduced(DomId::new(5));
        xs_transport::Progress = Progress::Refused(ErrorCode::NoEntry);
        xs_transport::Received = Received::Bytes(1);
        xs_transport::Sent = Sent::Refused(ErrorCode::NoEntry);
        xs_transport::StreamTransport<UnixStream> = unix;
        xs_transport::Turn = Turn::Progress;
        xs_transport::Wait = Wait::UntilWoken(None);
        xs_transport::XenbusTransport = xenbus;
        xs_transport::discover::Candidate = discover::Candidate::from_path("/run/x");
        xs_transport::discover::DiscoverError = discover::DiscoverError { tried: tried.collect() };
    }
}

fn in_memory(shown: &mut Shown) {
    let xenstored = Xenstored::new();
    xenstored.record();
    let pipe = xenstored.connect(DomId::DOM0);
    used_client(&xenstored);
    let record = xenstored.take_records().swap_remove(0);
    let fault = Fault::instead(SECRET).on(MessageType::Read).at("/a").of(DomId::new(5));
    let kernel = Kernel::new(&xenstored, DomId::new(5));
    let server = mock::Server::new(xenstored.clone()).unwrap();
    let reply = Reply::Value(SECRET.as_bytes().into());
    let line = text::lines(&format!("/a [n0 r5] = {SECRET}")).next().unwrap().unwrap().1;
    let error = xenstored.seed("/a b c").unwrap_err();
    let request = mock::Traced::Request { header: record.header, payload: SECRET.as_bytes() };
    let (shower, traces) = std::sync::mpsc::channel();
    xenstored.set_trace(move |trace| {
        let _ = shower.send((format!("{trace:?}"), format!("{trace:#?}")));
    });
    used_client(&xenstored);
    for (short, long) in traces.try_iter() {
        // A trace cannot be made outside of the crate: its text stands for it.
        shown.check("xs_transport::mock::Trace", &format_args!("{short}"));
        assert!(!long.contains(SECRET), "{long}");
    }
    show! { shown:
        xs_transport::mock::ConnId = pipe.id();
        xs_transport::mock::Device = kernel.open().unwrap();
        xs_transport::mock::Fault = fault;
        xs_transport::mock::FaultHandle = xenstored.inject(Fault::instead(SECRET));
        xs_transport::mock::Flavour = mock::Flavour::default();
        xs_transport::mock::ParseFlavourError = "junk".parse::<mock::Flavour>().unwrap_err();
        xs_transport::mock::Kernel = kernel;
        xs_transport::mock::Pipe = pipe;
        xs_transport::mock::Record = record;
        xs_transport::mock::Server = server;
        xs_transport::mock::StopHandle = server.stop_handle();
        xs_transport::mock::Traced<'_> = request;
        xs_transport::mock::Traced<'_> = mock::Traced::Reply { header: record.header, reply: &reply };
        xs_transport::mock::Traced<'_> = mock::Traced::Event { path: "/a", token: b"token" };
        xs_transport::mock::Unreliable<mock::Pipe> =
            mock::Unreliable::new(xenstored.connect(DomId::DOM0), 1);
        xs_transport::mock::Xenstored = xenstored;
        xs_transport::mock::text::Line = line;
        xs_transport::mock::text::SeedCause = error.cause;
        xs_transport::mock::text::SeedError = error;
    }
}

fn client(shown: &mut Shown) {
    use xs_client::*;

    let xenstored = Xenstored::new();
    let client = used_client(&xenstored);
    let mut watch = client.watch("/a").unwrap();
    let pending = client.start(&op::read("/a")).unwrap();
    let event = watch.wait().unwrap();
    let mut walk = client.walk("/").with_values();
    let root = walk.next().unwrap();
    let node = client.walk("/a").with_values().with_perms().next().unwrap();
    let missing = client.read("/no/such/node").unwrap_err();
    let unparsed = client.read_parsed::<u32>("/a").unwrap_err();
    let invalid = Invalid::Path(PathError::Empty);
    show! { shown:
        xs_client::Builder = Client::builder();
        xs_client::Client = client;
        xs_client::Error = missing;
        xs_client::Error = unparsed;
        xs_client::ErrorKind = *unparsed.kind();
        xs_client::ErrorKind = ErrorKind::Conflict { attempts: 100 };
        xs_client::EventKind = event.kind;
        xs_client::EventSource = client.event_source().unwrap();
        xs_client::Invalid = invalid;
        xs_client::Node = node;
        xs_client::Node = root;
        xs_client::Pending<Vec<u8>> = pending;
        xs_client::Retries = Retries::default();
        xs_client::WatchToken = watch.token();
        xs_client::Transaction = client.start_transaction().unwrap();
        xs_client::Tree = *client;
        xs_client::Walk<'_> = walk;
        xs_client::Watch = watch;
        xs_client::WatchBuilder<'_> = client.watch_builder("/a").depth(1);
        xs_client::WatchEvent = event;
        xs_client::WatchSet = client.watch_set();
        xs_client::WatchSetHandle = client.watch_set().handle();
        xs_client::op::Op<'_, ()> = op::write("/a", SECRET);
        xs_client::op::Op<'_, String> = op::control([SECRET]);
    }
}

fn tasks(shown: &mut Shown) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, driver) =
            futures::Client::with_tokio_driver(used_client(&Xenstored::new())).unwrap();
        show! { shown: xs_client::futures::Driver<futures::reactor::Tokio> = driver; }
        tokio::spawn(driver);
        client.read("/a").await.unwrap();
        show! { shown:
            xs_client::futures::Client = client;
            xs_client::futures::Transaction = client.start_transaction().await.unwrap();
            xs_client::futures::Tree = *client;
            xs_client::futures::Walk = client.walk("/");
            xs_client::futures::Watch = client.watch("/a").await.unwrap();
            xs_client::futures::WatchBuilder<'_> = client.watch_builder("/a").depth(1);
            xs_client::futures::WatchSet = client.watch_set();
            xs_client::futures::WatchSetHandle = client.watch_set().handle();
            xs_client::futures::reactor::Smol = futures::reactor::Smol::new();
            xs_client::futures::reactor::Tokio = futures::reactor::Tokio::new();
        }
    });
}

/// Types whose values exist on a Xen host only.
const ON_XEN: [&str; 3] = [
    "xs_transport::mock::host::Host",
    "xs_transport::mock::host::XenHypervisor",
    "xs_transport::mock::host::XenPage",
];

/// Returns the types in the lists of the public API.
fn public_types() -> BTreeSet<String> {
    let api = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../api");
    let lists = ["xs-proto.txt", "xs-transport.txt", "xs-client.txt"];
    let text: String =
        lists.iter().map(|list| fs::read_to_string(api.join(list)).unwrap()).collect();
    let types = text.lines().filter_map(|line| {
        // Attributes such as `#[non_exhaustive]` precede the item.
        let item = line.rsplit("] ").next().filter(|_| line.starts_with("#[")).unwrap_or(line);
        let name = item.strip_prefix("pub struct ").or_else(|| item.strip_prefix("pub enum "))?;
        Some(name.split(['<', '(', ' ']).next()?.to_owned())
    });
    types.collect()
}

#[test]
fn debug_text_of_every_public_type_is_short_and_without_values() {
    let mut shown = Shown::default();
    proto(&mut shown);
    rings(&mut shown);
    ring_transports(&mut shown);
    transport(&mut shown);
    in_memory(&mut shown);
    client(&mut shown);
    tasks(&mut shown);
    let public = public_types();
    assert!(public.len() > 70, "{} types", public.len());
    let missing = public.difference(&shown.0).filter(|name| !ON_XEN.contains(&name.as_str()));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "add values of these types above: {missing:#?}");
}

#[test]
fn debug_text_of_errors_is_a_sentence() {
    let client = used_client(&Xenstored::new());
    let error = client.read("/no/such/node").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());

    // A cause that the message does not contain follows it.
    let cause = io::Error::other(xs_client::PathError::TrailingSlash);
    let error = xs_client::Error::other(Outer(cause));
    assert_eq!(error.to_string(), "the backend failed");
    assert_eq!(format!("{error:?}"), "the backend failed: the path ends with a slash");
}

/// An error of a program, with a cause.
#[derive(Debug)]
struct Outer(io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the backend failed")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

//! One runtime to each core, and one copy of the routes for all of them: each worker is a thread with a
//! runtime and a listener of its own, and reads what an informer on another thread follows. No worker
//! ever waits for that thread, nor for another worker.
//!
//! `cargo run -p reflet-tokio --example thread_per_core`

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use reflet_tokio::http::HttpSource;
use reflet_tokio::serve::{Collection, CollectionOptions, Precondition, Publish, to_raw_value};
use reflet_tokio::{Informer, Reader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The name of the host that a route leads to.
type Route = Arc<String>;

const WORKERS: usize = 4;

/// Spawns a thread that answers requests for routes for as long as the process lives.
fn worker(routes: Reader<Route>, ready: mpsc::Sender<io::Result<SocketAddr>>) {
    thread::spawn(move || {
        let served = serve(routes, &ready);
        if let Err(error) = served {
            // Nobody is there to be told once all workers are known.
            let _ = ready.send(Err(error));
        }
    });
}

fn serve(routes: Reader<Route>, ready: &mpsc::Sender<io::Result<SocketAddr>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        // With `SO_REUSEPORT` all of them could have the same address.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let _ = ready.send(listener.local_addr());
        let app = Router::new()
            .route("/{route}", get(route))
            .with_state(routes);
        axum::serve(listener, app).await
    })
}

async fn route(
    State(routes): State<Reader<Route>>,
    Path(name): Path<String>,
) -> (StatusCode, String) {
    match routes.load(&name) {
        Some(host) => (StatusCode::OK, host.to_string()),
        None => (StatusCode::NOT_FOUND, "no such route".to_owned()),
    }
}

/// What a worker says of a route.
async fn ask(worker: SocketAddr, route: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(worker).await?;
    let request = format!("GET /{route} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    Ok(body.unwrap_or_default().to_owned())
}

/// Follows, changes a route, and asks each worker before and after.
pub(crate) async fn run() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let service = Collection::new("routes", CollectionOptions::default())?;
    let put = |host: &str| {
        service
            .put("hello", to_raw_value(host)?, Precondition::None)
            .map_err(Box::<dyn Error>::from)
    };
    put("one.internal")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let published = Publish::new().collection(&service).router();
    tokio::spawn(axum::serve(listener, published).into_future());

    let source = HttpSource::<String>::builder(&format!("http://{address}"), "routes").build()?;
    let informer = Informer::builder(source).name("routes").start();
    informer.synced().await?;
    let routes = informer.reader();
    let (ready, readies) = mpsc::channel();
    (0..WORKERS).for_each(|_| worker(routes.clone(), ready.clone()));
    let workers: Vec<SocketAddr> = readies.iter().take(WORKERS).collect::<Result<_, _>>()?;

    let mut answers = Vec::new();
    for worker in &workers {
        answers.push((ask(*worker, "hello").await?, String::new()));
    }
    let written = put("two.internal")?;
    routes.wait_for(&written.version.into()).await?;
    for (worker, (_, after)) in workers.iter().zip(&mut answers) {
        *after = ask(*worker, "hello").await?;
    }
    informer.shutdown().await;
    Ok(answers)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for (number, (before, after)) in run().await?.iter().enumerate() {
        println!("worker {number}: {before}, then {after}");
    }
    Ok(())
}

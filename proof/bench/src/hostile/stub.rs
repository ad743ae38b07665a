//! A service that reads what it is sent, throws it away and answers 200: what the clients are measured against. It is
//! also where the tasks' handlers go. In a process of its own, so that its work is not the node's.

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use campanile_core::system;
use tokio::net::TcpListener;

use crate::Error;
use crate::child::parent_gone;

/// `campanile-bench stub`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
}

/// Serves until its parent is gone.
///
/// # Errors
/// The address can't be had.
pub async fn run(args: &Args) -> Result<ExitCode, Error> {
    let unavailable = |e: std::io::Error| Error::Unavailable(format!("{}: {e}", args.listen));
    let tcp = TcpListener::bind(args.listen).await.map_err(unavailable)?;
    let router = Router::new().fallback(discard);
    let serving = system::spawn(async move {
        let _ = axum::serve(tcp, router).await;
    });
    parent_gone().await;
    serving.abort();
    Ok(ExitCode::SUCCESS)
}

async fn discard(request: Request) -> &'static str {
    let mut body = std::pin::pin!(request.into_body());
    while let Some(Ok(_)) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
    "ok\n"
}

//! A small axum application.

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};

/// The application.
pub fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/count", post(|content: Bytes| async move { content.len().to_string() }))
}

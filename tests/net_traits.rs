//! `futures_io::{AsyncRead, AsyncWrite}` over connections and their halves (feature `futures-io`).
#![cfg(feature = "futures-io")]

#[path = "support/net.rs"]
mod support;

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
};

use futures_io::{AsyncRead, AsyncWrite};
use support::{pair, pattern, run};
use wakering::spawn;

const LENGTH: usize = 300_000;

/// Sends a pattern in two slices at a time, then flushes and closes, knowing nothing but the trait.
async fn send(mut to: impl AsyncWrite + Unpin, seed: u64) -> io::Result<()> {
    let all = pattern(seed, LENGTH);
    let mut rest = &all[..];
    while !rest.is_empty() {
        let (first, second) = rest.split_at(rest.len() / 2);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let mut to = Pin::new(&mut to);
        let written = match rest.len() % 2 {
            0 => poll_fn(|cx| to.as_mut().poll_write_vectored(cx, &slices)).await?,
            _ => poll_fn(|cx| to.as_mut().poll_write(cx, rest)).await?,
        };
        rest = &rest[written..];
    }
    let mut to = Pin::new(&mut to);
    poll_fn(|cx| to.as_mut().poll_flush(cx)).await?;
    poll_fn(|cx| to.as_mut().poll_close(cx)).await?;
    // Closing what is closed is no error.
    poll_fn(|cx| to.as_mut().poll_close(cx)).await
}

/// Receives to the end, plain and vectored in turn.
async fn receive(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let (mut one, mut two) = ([0; 1_000], [0; 9_000]);
    let mut from = Pin::new(&mut from);
    for turn in 0_u32.. {
        let read = if turn % 2 == 0 {
            let read = poll_fn(|cx| from.as_mut().poll_read(cx, &mut two)).await?;
            all.extend_from_slice(&two[..read]);
            read
        } else {
            let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            let read = poll_fn(|cx| from.as_mut().poll_read_vectored(cx, &mut slices)).await?;
            all.extend_from_slice(&one[..read.min(1_000)]);
            all.extend_from_slice(&two[..read.saturating_sub(1_000)]);
            read
        };
        if read == 0 {
            break;
        }
    }
    Ok(all)
}

#[test]
fn whole_connections_and_both_kinds_of_halves_speak_the_traits() {
    run(async {
        let (one, two) = pair().await;
        let sending = spawn(send(one, 1));
        assert!(receive(two).await.unwrap() == pattern(1, LENGTH));
        sending.await.unwrap().unwrap();

        let (one, two) = pair().await;
        let (_reader, writer) = one.into_split();
        let (reader, _writer) = two.into_split();
        let sending = spawn(send(writer, 2));
        assert!(receive(reader).await.unwrap() == pattern(2, LENGTH));
        sending.await.unwrap().unwrap();

        let (mut one, two) = pair().await;
        let receiving = spawn(receive(two));
        let (_reader, writer) = one.split();
        send(writer, 3).await.unwrap();
        assert!(receiving.await.unwrap().unwrap() == pattern(3, LENGTH));
    });
}

//! TCP echo through the runtime: client and server are tasks of one worker, so that a round trip holds no
//! switch of threads: four system calls, their share of the selector's, and what the runtime adds.

#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wakering::{
    Runtime,
    net::{TcpListener, TcpStream},
    spawn,
};

const MESSAGE: usize = 1024;

fn tcp_echo(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime of one worker is built");
    let mut group = criterion.benchmark_group("net/tcp_echo_1k");
    group.throughput(Throughput::Elements(1));
    for connections in [1, 64] {
        group.bench_function(format!("{connections}_connections"), |bencher| {
            bencher.iter_custom(|count| {
                runtime
                    .block_on(round_trips(connections, count))
                    .expect("no runtime runs on this thread")
                    .expect("loopback connections work")
            });
        });
    }
    group.finish();
}

/// Makes `count` round trips over all connections together, rounded up; the time without the connecting.
async fn round_trips(connections: u64, count: u64) -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let client = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        let (server, _) = listener.accept().await?;
        server.set_nodelay(true)?;
        drop(spawn(echo(server)));
        clients.push(client);
    }
    let each = count.div_ceil(connections);
    let started = Instant::now();
    let tasks: Vec<_> = clients.into_iter().map(|client| spawn(ask(client, each))).collect();
    for task in tasks {
        task.await.expect("the task is not aborted")?;
    }
    Ok(started.elapsed().mul_f64(count as f64 / (each * connections) as f64))
}

async fn ask(mut stream: TcpStream, count: u64) -> io::Result<()> {
    let message = [7; MESSAGE];
    let mut answer = [0; MESSAGE];
    for _ in 0..count {
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; MESSAGE];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}

criterion_group!(benches, tcp_echo);
criterion_main!(benches);

//! The proxy as a program of its own, for the tests: `proxy DIR ADDRESS`.

use lockgate_proxy::{ProxyConfig, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, address] = arguments.as_slice() else { return Err("proxy DIR ADDRESS".into()) };
    serve(ProxyConfig::new(dir).listen([address.parse()?])).await?;
    Ok(())
}

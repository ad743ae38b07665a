//! A program with one task and one run: `cargo run -p campanile --example hello` makes `app.db` and says `hello you`.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]
use campanile::prelude::*;

struct Greet;
impl Handler for Greet {
    const NAME: &'static str = "greet";
    type Args = String;
    type Output = String;
    async fn run(&self, _: Context, name: String) -> Result<String, Failure> {
        Ok(format!("hello {name}"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let app = Campanile::open("sqlite:app.db").handler(Greet);
    let app = app.start().await?;
    let task = app.task::<Greet>("morning").cron("0 8 * * *");
    task.payload(&"world".into()).apply().await?;
    let run = app.submit::<Greet>(&"you".into()).await?;
    println!("{}", run.wait().await?);
    app.stop().await;
    Ok(())
}

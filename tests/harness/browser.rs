//! A real Chromium without a screen, through chromedriver.

use crate::program::Program;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A page load through a real webmail on a busy machine takes seconds; half a minute means that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The key, as WebDriver calls it.
pub const ENTER: &str = "\u{e007}";

/// What the browser pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A window of 1280x900.
    Desktop,
    /// An Android phone: touch screen of 390x844, its user agent and client hints.
    Phone,
    /// A window of 360x740, as wide as a small phone.
    Narrow,
}

/// One browser with a fresh profile, killed when dropped.
///
/// Hosts below `.localhost` and `.test` are 127.0.0.1; all others do not exist. Every verb waits for what it needs
/// and panics with the page's address and a screenshot when it does not come.
pub struct Browser {
    client: Option<Client>,
    runtime: tokio::runtime::Runtime,
    chrome: Option<i32>,
    _driver: Program,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// A desktop browser.
    pub fn desktop() -> Self {
        Self::start(Device::Desktop, &[])
    }

    /// A phone's browser.
    pub fn phone() -> Self {
        Self::start(Device::Phone, &[])
    }

    /// A browser with further flags, `--ignore-certificate-errors` or `--lang=de`, say.
    pub fn start(device: Device, flags: &[&str]) -> Self {
        let profile = crate::temp_dir();
        let (driver, port) = (0..10)
            .find_map(|_| start_driver(profile.path()))
            .expect("chromedriver starts: it ended at once, ten times, which it says why in its log");
        let Value::Object(capabilities) = capabilities(device, flags, profile.path()) else { unreachable!() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let connector = hyper_util::client::legacy::connect::HttpConnector::new();
            let mut builder = ClientBuilder::new(connector);
            builder.capabilities(capabilities);
            tokio::time::timeout(PATIENCE, builder.connect(&format!("http://127.0.0.1:{port}"))).await
        });
        let client = client
            .unwrap_or_else(|_| panic!("Chromium does not start within {PATIENCE:?}; {}", driver.tail()))
            .unwrap_or_else(|e| panic!("Chromium does not start: {e}; {}", driver.tail()));
        let chrome = client.capabilities().and_then(|c| c.get("goog:processID")).and_then(Value::as_i64);
        let chrome = chrome.and_then(|id| i32::try_from(id).ok());
        Self { client: Some(client), runtime, chrome, _driver: driver, _profile: profile }
    }

    /// Loads a page and waits for its load event.
    #[track_caller]
    pub fn goto(&self, url: &str) {
        self.verb(&format!("goto {url}"), async |c| c.goto(url).await);
    }

    /// Presses keys at an element, which has the focus then. [`ENTER`] is what a keyboard has for a button.
    #[track_caller]
    pub fn press(&self, css: &str, keys: &str) {
        self.verb(&format!("press at {css}"), async |c| {
            c.wait().for_element(Locator::Css(css)).await?.send_keys(keys).await
        });
    }

    /// Puts text into a field in place of what is there.
    #[track_caller]
    pub fn fill(&self, css: &str, text: &str) {
        self.verb(&format!("fill {css}"), async |c| {
            let field = c.wait().for_element(Locator::Css(css)).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Clicks on an element, once it is there.
    #[track_caller]
    pub fn click(&self, css: &str) {
        self.verb(&format!("click {css}"), async |c| c.wait().for_element(Locator::Css(css)).await?.click().await);
    }

    /// The visible text of an element, once it is there.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        self.verb(&format!("text {css}"), async |c| c.wait().for_element(Locator::Css(css)).await?.text().await)
    }

    /// An attribute of an element, once it is there.
    #[track_caller]
    pub fn attr(&self, css: &str, name: &str) -> Option<String> {
        self.verb(&format!("attr {css} {name}"), async |c| {
            c.wait().for_element(Locator::Css(css)).await?.attr(name).await
        })
    }

    /// A property of an element, once it is there: the `value` that was typed, say.
    #[track_caller]
    pub fn prop(&self, css: &str, name: &str) -> Option<String> {
        self.verb(&format!("prop {css} {name}"), async |c| {
            c.wait().for_element(Locator::Css(css)).await?.prop(name).await
        })
    }

    /// How many elements there are now.
    #[track_caller]
    pub fn count(&self, css: &str) -> usize {
        self.verb(&format!("count {css}"), async |c| c.find_all(Locator::Css(css)).await).len()
    }

    /// Waits until an element is there.
    #[track_caller]
    pub fn wait_for(&self, css: &str) {
        self.verb(&format!("wait for {css}"), async |c| c.wait().for_element(Locator::Css(css)).await.map(drop));
    }

    /// Waits until the address holds this text, and gives the address.
    #[track_caller]
    pub fn wait_for_url(&self, part: &str) -> String {
        self.verb(&format!("wait for an address with {part}"), async |c| {
            loop {
                let url = c.current_url().await?;
                if url.as_str().contains(part) {
                    return Ok(url.to_string());
                }
                // WebDriver has no event for it
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }

    /// The present address.
    #[track_caller]
    pub fn url(&self) -> String {
        self.verb("url", async |c| c.current_url().await).to_string()
    }

    /// The page's title.
    #[track_caller]
    pub fn title(&self) -> String {
        self.verb("title", async |c| c.title().await)
    }

    /// The page as it is now.
    #[track_caller]
    pub fn source(&self) -> String {
        self.verb("source", async |c| c.source().await)
    }

    /// Runs JavaScript: the body of a function, whose `return` is the answer.
    #[track_caller]
    pub fn script(&self, code: &str) -> Value {
        self.verb("script", async |c| c.execute(code, Vec::new()).await)
    }

    /// Chooses a file in a file field, hidden ones too.
    #[track_caller]
    pub fn upload(&self, css: &str, file: &Path) {
        let path = file.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let path = path.to_str().expect("a path in UTF-8");
        self.verb(&format!("upload {css}"), async |c| {
            c.wait().for_element(Locator::Css(css)).await?.send_keys(path).await
        });
    }

    /// Goes on inside a frame.
    #[track_caller]
    pub fn enter_frame(&self, css: &str) {
        self.verb(&format!("frame {css}"), async |c| {
            c.wait().for_element(Locator::Css(css)).await?.enter_frame().await
        });
    }

    /// Back to the page itself.
    #[track_caller]
    pub fn leave_frames(&self) {
        self.verb("leave frames", async |c| c.enter_parent_frame().await);
    }

    /// Writes a PNG of what the window shows; a relative path is below [`crate::artifacts`].
    #[track_caller]
    pub fn screenshot(&self, path: impl AsRef<Path>) {
        let png = self.verb("screenshot", async |c| c.screenshot().await);
        let path = crate::artifacts().join(path);
        std::fs::write(&path, png).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    #[track_caller]
    fn verb<T>(&self, what: &str, run: impl AsyncFnOnce(&Client) -> Result<T, CmdError>) -> T {
        let client = self.client.as_ref().expect("it lives");
        let result = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, run(client)).await });
        match result {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => panic!("browser: {what}: {e}; {}", self.seen()),
            Err(_) => panic!("browser: {what}: not within {PATIENCE:?}; {}", self.seen()),
        }
    }

    /// Where it is and a screenshot of it, for a message.
    fn seen(&self) -> String {
        let client = self.client.as_ref().expect("it lives");
        let (url, png) = self.runtime.block_on(async {
            let url = tokio::time::timeout(Duration::from_secs(5), client.current_url()).await;
            (url, tokio::time::timeout(Duration::from_secs(5), client.screenshot()).await)
        });
        let url = url.ok().and_then(Result::ok).map_or_else(String::new, |u| u.to_string());
        let file = crate::artifacts().join(format!("failed-{}.png", self.chrome.unwrap_or_default()));
        let shot = png.ok().and_then(Result::ok).and_then(|png| std::fs::write(&file, png).ok());
        let shot = shot.map_or_else(|| "no screenshot".to_owned(), |()| format!("screenshot: {}", file.display()));
        format!("it is at {url}; {shot}")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process, test_kill_process};
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), client.close()).await });
        }
        // chromedriver puts Chromium in a group of its own; should it not have closed it, it is killed here
        if let Some(pid) = self.chrome.and_then(Pid::from_raw).filter(|&pid| test_kill_process(pid).is_ok()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Starts chromedriver; its port. It takes one that is free for IPv4 and wants the same for IPv6, which may be taken: then it
/// ends at once, and another try finds another.
fn start_driver(home: &Path) -> Option<(Program, String)> {
    let mut command = Command::new("chromedriver");
    // HOME and TMPDIR: whatever Chromium leaves beside its profile goes with it
    command.arg("--port=0").env("HOME", home).env("TMPDIR", home);
    let mut driver = Program::start("chromedriver", &mut command);
    loop {
        let line = driver.try_line(PATIENCE)?;
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Some((driver, port.trim_end_matches('.').to_owned()));
        }
    }
}

fn capabilities(device: Device, flags: &[&str], profile: &Path) -> Value {
    let mut args: Vec<String> = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--window-size=1280,900",
        // no look-up ever leaves the machine
        "--host-resolver-rules=MAP *.test 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE localhost,EXCLUDE *.localhost,EXCLUDE 127.*",
    ]
    .map(String::from)
    .to_vec();
    args.push(format!("--user-data-dir={}", profile.join("profile").display()));
    args.extend(flags.iter().map(|&f| f.to_owned()));
    let mut options = json!({ "args": args });
    if device == Device::Phone {
        options["mobileEmulation"] = json!({
            "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 3.0, "touch": true, "mobile": true },
            "userAgent": "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/140.0.0.0 Mobile Safari/537.36",
            "clientHints": { "platform": "Android", "mobile": true, "platformVersion": "15", "model": "Pixel 9" },
        });
    }
    if device == Device::Narrow {
        options["mobileEmulation"] = json!({ "deviceMetrics": { "width": 360, "height": 740, "pixelRatio": 2.0 } });
    }
    json!({ "browserName": "chrome", "goog:chromeOptions": options })
}

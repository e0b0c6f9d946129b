//! A real browser, by WebDriver (W3C) over HTTP: chromedriver and headless Chromium.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::blocking::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{PATIENCE, eventually};

/// A browser with one window; it ends with the value.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    // The profile, gone with the value.
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None where there is no browser or no driver of it.
    pub fn start() -> Option<Self> {
        let program = ["chromium", "google-chrome"].into_iter().find(|name| is_there(name))?;
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, behind) = line.split_once("successfully on port ")?;
            behind.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver names its port");
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--no-proxy-server",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let base = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, client, session: base, _profile: profile };
        let options = json!({ "binary": which(program)?, "args": arguments });
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let made = browser.post("", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What an expression of JavaScript is in the page.
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn until(&self, expression: &str) {
        eventually(expression, || (self.value(expression) == true).then_some(()));
    }

    /// Presses a key where the focus is.
    pub fn press(&self, key: &str) {
        let actions = json!([{ "type": "key", "id": "keys", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key } ] }]);
        self.post("/actions", &json!({ "actions": actions }));
    }

    /// A command of the DevTools protocol.
    pub fn command(&self, name: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// What the console has said since it was last asked, by level.
    pub fn console(&self) -> Vec<(String, String)> {
        let all = self.post("/se/log", &json!({ "type": "browser" }));
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let entries = all.as_array().expect("a log is a list");
        entries.iter().map(|entry| (text(entry, "level"), text(entry, "message"))).collect()
    }

    /// Shows the page as where light or dark colours are preferred, and so wide.
    pub fn show_as(&self, scheme: &str, width: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features }));
        let mobile = width < 600;
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
        let ground = self.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(is_light(&ground), scheme == "light", "{scheme}: {ground}");
        // Nothing sticks out to the side.
        self.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth");
    }

    /// Nothing was said in the console.
    pub fn has_no_complaint(&self) {
        let said = self.console();
        assert!(said.is_empty(), "the console says {said:#?}");
    }

    /// The whole page as a picture.
    pub fn picture(&self, to: &Path) {
        let height = self.value("document.documentElement.scrollHeight");
        let width = self.value("document.documentElement.clientWidth");
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let shot = self.command(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }),
        );
        let bytes = from_base64(shot["data"].as_str().expect("a picture"));
        assert!(bytes.starts_with(b"\x89PNG"), "a picture is a PNG");
        std::fs::write(to, bytes).unwrap();
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .client
            .post(format!("{}{path}", self.session))
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send()
            .unwrap();
        let (status, text) = (answer.status(), answer.text().unwrap());
        assert!(status.is_success(), "{path} {body}: {text}");
        let mut told: Value = serde_json::from_str(&text).unwrap();
        told["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; then its driver has nothing left to do.
        let _ = self.client.delete(&self.session).timeout(Duration::from_secs(10)).send();
        let _ = kill_process(Pid::from_child(&self.driver), Signal::TERM);
        let _ = self.driver.wait();
    }
}

fn is_light(colour: &Value) -> bool {
    let digits = colour.as_str().unwrap().trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(',').next().unwrap().parse::<u32>().unwrap() > 128
}

fn which(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|directory| directory.join(name));
    found.filter(|file| file.is_file()).find_map(|file| file.to_str().map(str::to_owned))
}

fn is_there(name: &str) -> bool {
    which(name).is_some()
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| -> u32 {
        match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other} is no digit"),
        }
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let chunks = digits.chunks(4).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 6 | digit(*byte));
        let bytes = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        bytes[1..chunk.len()].to_vec()
    });
    chunks.collect()
}

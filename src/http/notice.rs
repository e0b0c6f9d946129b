//! The short body of a refusal or a redirect, in the form that the client prefers.

use super::markup;
use super::negotiate::Form;
use super::sink::Sink;
use super::status::Status;

/// The forms of a notice, for [`super::negotiate::form`]: plain text unless something else is
/// wanted more.
pub const FORMS: [Form; 3] = [Form::Plain, Form::Html, Form::Json];

/// Writes the body. `text` is one sentence about the request and says nothing of the inside of the
/// server; it may be empty.
pub fn notice(out: &mut impl Sink, status: Status, text: &str, form: Form) {
    match form {
        Form::Html => {
            out.put(
                b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                  <meta name=\"viewport\" content=\"width=device-width\">\n\
                  <meta name=\"color-scheme\" content=\"light dark\">\n<title>",
            );
            title(out, status);
            out.put(
                b"</title>\n<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;\
                  margin:15vh auto;padding:0 1rem}h1{font-size:1.5rem}</style>\n<h1>",
            );
            title(out, status);
            out.put(b"</h1>\n");
            if !text.is_empty() {
                out.put(b"<p>");
                markup::html(out, text.as_bytes());
                out.put(b"</p>\n");
            }
        }
        Form::Json => {
            out.put(b"{\"status\":");
            out.put_decimal(u64::from(status.code()));
            out.put(b",\"reason\":");
            markup::json(out, status.reason().as_bytes());
            out.put(b",\"text\":");
            markup::json(out, text.as_bytes());
            out.put(b"}\n");
        }
        Form::Plain | Form::Prometheus | Form::OpenMetrics => {
            title(out, status);
            out.put(b"\n");
            if !text.is_empty() {
                out.put(text.as_bytes());
                out.put(b"\n");
            }
        }
    }
}

fn title(out: &mut impl Sink, status: Status) {
    out.put_decimal(u64::from(status.code()));
    out.put(b" ");
    out.put(status.reason().as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str, form: Form) -> String {
        let mut out = Vec::new();
        notice(&mut out, Status::NotFound, text, form);
        String::from_utf8(out).unwrap()
    }

    /// RFC 9110 section 15.5: an explanation, in the form that is wanted.
    #[test]
    fn three_forms() {
        assert_eq!(of("No <b>.", Form::Plain), "404 Not Found\nNo <b>.\n");
        assert_eq!(of("", Form::Plain), "404 Not Found\n");
        assert_eq!(
            of("No \"b\".", Form::Json),
            "{\"status\":404,\"reason\":\"Not Found\",\"text\":\"No \\\"b\\\".\"}\n"
        );
        let html = of("No <b>.", Form::Html);
        assert!(html.contains("<title>404 Not Found</title>"));
        assert!(html.contains("<p>No &lt;b&gt;.</p>"));
        assert!(!of("", Form::Html).contains("<p>"));
    }

    /// RFC 9110 section 15.5.
    #[test]
    fn notices_are_short() {
        for status in Status::ALL {
            for form in FORMS {
                let mut length = 0u64;
                notice(&mut length, *status, "A sentence that is about as long as one is.", form);
                assert!(length < 700, "{status:?} in {form:?} has {length} bytes");
            }
        }
    }
}

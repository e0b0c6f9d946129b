//! The status codes this server answers with, and their reason phrases.
//!
//! A closed list: a status that no rule can lead to has no place here, so a `match` over it shows
//! every answer there is. The phrases are those of RFC 9110 section 15 and RFC 6585 section 5.

/// One status of an answer (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Status {
    /// 100: the client may send the body it announced.
    Continue = 100,
    /// 200: the whole representation follows.
    Ok = 200,
    /// 204: the answer to OPTIONS.
    NoContent = 204,
    /// 206: one or several ranges follow.
    PartialContent = 206,
    /// 301: the clean path, or a configured redirect.
    MovedPermanently = 301,
    /// 302: a configured redirect.
    Found = 302,
    /// 303: a configured redirect.
    SeeOther = 303,
    /// 304: the client's copy is still good.
    NotModified = 304,
    /// 307: a configured redirect that keeps the method.
    TemporaryRedirect = 307,
    /// 308: a configured redirect that keeps the method, for good.
    PermanentRedirect = 308,
    /// 400: the request is not one that HTTP allows.
    BadRequest = 400,
    /// 403: there, but not for this client.
    Forbidden = 403,
    /// 404: nothing is served under this name.
    NotFound = 404,
    /// 405: a known method that a static file does not offer.
    MethodNotAllowed = 405,
    /// 408: the request was begun and not finished in time.
    RequestTimeout = 408,
    /// 410: a configured end of a name.
    Gone = 410,
    /// 412: a condition of the client does not hold.
    PreconditionFailed = 412,
    /// 413: a body longer than the server reads away.
    ContentTooLarge = 413,
    /// 414: a target longer than the limit.
    UriTooLong = 414,
    /// 416: no asked range lies in the file.
    RangeNotSatisfiable = 416,
    /// 417: an expectation other than 100-continue.
    ExpectationFailed = 417,
    /// 431: a head longer than the limit, or with too many fields.
    RequestHeaderFieldsTooLarge = 431,
    /// 500: a fault of the server's own.
    InternalServerError = 500,
    /// 501: a method or transfer coding the server does not know.
    NotImplemented = 501,
    /// 503: out of something for the moment.
    ServiceUnavailable = 503,
    /// 505: another major version of HTTP.
    HttpVersionNotSupported = 505,
}

impl Status {
    /// Every status, in the order of the codes.
    pub const ALL: &'static [Status] = &[
        Status::Continue,
        Status::Ok,
        Status::NoContent,
        Status::PartialContent,
        Status::MovedPermanently,
        Status::Found,
        Status::SeeOther,
        Status::NotModified,
        Status::TemporaryRedirect,
        Status::PermanentRedirect,
        Status::BadRequest,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::Gone,
        Status::PreconditionFailed,
        Status::ContentTooLarge,
        Status::UriTooLong,
        Status::RangeNotSatisfiable,
        Status::ExpectationFailed,
        Status::RequestHeaderFieldsTooLarge,
        Status::InternalServerError,
        Status::NotImplemented,
        Status::ServiceUnavailable,
        Status::HttpVersionNotSupported,
    ];

    /// The three-digit code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The status with this code, when the server has it: for a configured redirect or error page.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Status> {
        Self::ALL.iter().copied().find(|status| status.code() == code)
    }

    /// The reason phrase of the status line.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Status::Continue => "Continue",
            Status::Ok => "OK",
            Status::NoContent => "No Content",
            Status::PartialContent => "Partial Content",
            Status::MovedPermanently => "Moved Permanently",
            Status::Found => "Found",
            Status::SeeOther => "See Other",
            Status::NotModified => "Not Modified",
            Status::TemporaryRedirect => "Temporary Redirect",
            Status::PermanentRedirect => "Permanent Redirect",
            Status::BadRequest => "Bad Request",
            Status::Forbidden => "Forbidden",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::RequestTimeout => "Request Timeout",
            Status::Gone => "Gone",
            Status::PreconditionFailed => "Precondition Failed",
            Status::ContentTooLarge => "Content Too Large",
            Status::UriTooLong => "URI Too Long",
            Status::RangeNotSatisfiable => "Range Not Satisfiable",
            Status::ExpectationFailed => "Expectation Failed",
            Status::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
            Status::InternalServerError => "Internal Server Error",
            Status::NotImplemented => "Not Implemented",
            Status::ServiceUnavailable => "Service Unavailable",
            Status::HttpVersionNotSupported => "HTTP Version Not Supported",
        }
    }

    /// Whether the answer may carry a body and Content-Length: not 1xx, 204 and 304
    /// (RFC 9110 section 8.6, RFC 9112 section 6.3).
    #[must_use]
    pub const fn allows_body(self) -> bool {
        !matches!(self, Status::Continue | Status::NoContent | Status::NotModified)
    }

    /// Whether the request was understood and done (2xx).
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.code() / 100 == 2
    }

    /// Whether the answer is an error, the client's or the server's (4xx, 5xx).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.code() >= 400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_three_digits_in_order_and_are_found_again_rfc9110_section_15() {
        assert!(Status::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        for &status in Status::ALL {
            assert!((100..600).contains(&status.code()));
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert!(status.reason().is_ascii() && !status.reason().is_empty());
        }
        assert_eq!(Status::from_code(299), None);
        assert_eq!(Status::from_code(0), None);
    }

    #[test]
    fn only_interim_no_content_and_not_modified_bear_no_body_rfc9112_section_6_3() {
        for &status in Status::ALL {
            let bare = [100, 204, 304].contains(&status.code());
            assert_eq!(status.allows_body(), !bare, "{status:?}");
        }
        assert!(Status::PartialContent.is_success() && !Status::NotModified.is_success());
        assert!(Status::BadRequest.is_error() && !Status::PermanentRedirect.is_error());
    }
}

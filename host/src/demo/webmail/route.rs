//! Pure. Which page a method and a path mean.

use hyper::Method;

/// A page this server has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The style sheet, for anybody.
    Style,
    /// The login form, for anybody.
    LoginForm,
    /// The login form, filled in.
    Login,
    /// Something that needs a session.
    Private(Private),
}

/// A page for somebody signed in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Private {
    /// `/`, which leads to the inbox.
    Home,
    /// The list of messages.
    Inbox,
    /// One message, by its number.
    Message(usize),
    /// The form for a new message.
    Compose,
    /// An attachment on its way in.
    Upload,
    /// How many messages are unread, for scripts.
    Unread,
    /// Server-sent events.
    Events,
    /// So many bytes of a known pattern.
    Download(u64),
    /// What the server saw of the request.
    About,
    /// The end of the session.
    Logout,
}

/// Why there is no page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// Nothing is at this path.
    NotFound,
    /// Something is, for these methods.
    Method(&'static str),
}

/// The page that `method` and `path` mean.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, Miss> {
    let found = match *method {
        Method::GET => read(path),
        // A HEAD is a GET without the body, save where the GET changes something.
        Method::HEAD => read(path).filter(|route| *route != Route::Private(Private::Logout)),
        Method::POST => write(path),
        _ => None,
    };
    match found {
        Some(route) => Ok(route),
        None => Err(match (read(path), write(path)) {
            (None, None) => Miss::NotFound,
            (Some(Route::Private(Private::Logout)), _) => Miss::Method("GET, POST"),
            (Some(_), None) => Miss::Method("GET, HEAD"),
            (None, Some(_)) => Miss::Method("POST"),
            (Some(_), Some(_)) => Miss::Method("GET, HEAD, POST"),
        }),
    }
}

fn read(path: &str) -> Option<Route> {
    Some(match path {
        "/static/style.css" => Route::Style,
        "/login" => Route::LoginForm,
        "/" => Route::Private(Private::Home),
        "/inbox" => Route::Private(Private::Inbox),
        "/compose" => Route::Private(Private::Compose),
        "/api/unread" => Route::Private(Private::Unread),
        "/events" => Route::Private(Private::Events),
        "/about" => Route::Private(Private::About),
        "/logout" => Route::Private(Private::Logout),
        _ => {
            if let Some(number) = path.strip_prefix("/message/") {
                Route::Private(Private::Message(number.parse().ok()?))
            } else {
                Route::Private(Private::Download(path.strip_prefix("/download/")?.parse().ok()?))
            }
        }
    })
}

fn write(path: &str) -> Option<Route> {
    match path {
        "/login" => Some(Route::Login),
        "/upload" => Some(Route::Private(Private::Upload)),
        "/logout" => Some(Route::Private(Private::Logout)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_method_mean_one_page() {
        let cases = [
            (Method::GET, "/", Ok(Route::Private(Private::Home))),
            (Method::HEAD, "/inbox", Ok(Route::Private(Private::Inbox))),
            (Method::GET, "/message/3", Ok(Route::Private(Private::Message(3)))),
            (Method::GET, "/message/x", Err(Miss::NotFound)),
            (Method::GET, "/download/99999999999999999999999", Err(Miss::NotFound)),
            (Method::POST, "/login", Ok(Route::Login)),
            (Method::HEAD, "/logout", Err(Miss::Method("GET, POST"))),
            (Method::GET, "/upload", Err(Miss::Method("POST"))),
            (Method::POST, "/inbox", Err(Miss::Method("GET, HEAD"))),
            (Method::DELETE, "/login", Err(Miss::Method("GET, HEAD, POST"))),
            (Method::GET, "/inbox/", Err(Miss::NotFound)),
        ];
        for (method, path, expected) in cases {
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }
}

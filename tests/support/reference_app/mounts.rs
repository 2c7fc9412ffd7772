//! Where clients connect to the reference application: the same channels under many options.

use std::time::Duration;

use quikapp_protocol::Vsn;
use quikapp_realtime::endpoint::OriginPolicy;
use quikapp_realtime::socket::{Limits, LongPollOptions, MountOptions};

/// A mount: its path, its options, and whether its handler maps refusals to answers.
pub struct ReferenceMount {
    pub path: &'static str,
    pub options: MountOptions,
    pub maps_errors: bool,
}

/// All of them.
pub fn all() -> Vec<ReferenceMount> {
    let mut errh = mount("/socket_errh", with_long_poll());
    errh.maps_errors = true;
    vec![
        mount("/socket", with_long_poll()),
        mount("/socket_short", short()),
        mount(
            "/socket_small",
            MountOptions {
                max_frame_size: Some(4096),
                ..plain()
            },
        ),
        mount("/socket_origin", origin_list()),
        mount(
            "/socket_compress",
            MountOptions {
                compress: true,
                ..plain()
            },
        ),
        errh,
        mount("/socket_limit", three_channels()),
        mount("/socket_sub", subprotocols()),
        mount(
            "/socket_v1only",
            MountOptions {
                serializers: vec![Vsn::V1],
                ..plain()
            },
        ),
        mount(
            "/socket_path/:tenant",
            MountOptions {
                websocket_path: "/ws".into(),
                ..plain()
            },
        ),
        mount(
            "/socket_origin_host",
            MountOptions {
                origins: OriginPolicy::OwnHost,
                ..plain()
            },
        ),
        mount(
            "/socket_auth",
            MountOptions {
                auth_token: true,
                ..with_long_poll()
            },
        ),
    ]
}

fn mount(path: &'static str, options: MountOptions) -> ReferenceMount {
    ReferenceMount {
        path,
        options,
        maps_errors: false,
    }
}

/// WebSocket only, from any page.
fn plain() -> MountOptions {
    MountOptions {
        longpoll: None,
        origins: OriginPolicy::Any,
        ..MountOptions::default()
    }
}

fn with_long_poll() -> MountOptions {
    MountOptions {
        longpoll: Some(LongPollOptions::default()),
        ..plain()
    }
}

fn short() -> MountOptions {
    let window = Duration::from_millis(700);
    MountOptions {
        idle_timeout: Duration::from_millis(1500),
        longpoll: Some(LongPollOptions {
            window,
            ..LongPollOptions::default()
        }),
        ..plain()
    }
}

fn origin_list() -> MountOptions {
    let only_first = list(&["https://example.com"]);
    MountOptions {
        origins: list(&[
            "https://example.com",
            "//*.trusted.test",
            "http://ported.test:8080",
        ]),
        longpoll: Some(LongPollOptions {
            origins: Some(only_first),
            ..LongPollOptions::default()
        }),
        ..plain()
    }
}

fn list(origins: &[&str]) -> OriginPolicy {
    let patterns = origins
        .iter()
        .map(|origin| origin.parse().expect("a valid pattern"));
    OriginPolicy::List(patterns.collect())
}

fn three_channels() -> MountOptions {
    MountOptions {
        limits: Limits {
            channels: 3,
            ..Limits::default()
        },
        ..plain()
    }
}

fn subprotocols() -> MountOptions {
    MountOptions {
        subprotocols: vec!["sip".into(), "mqtt".into()],
        ..plain()
    }
}

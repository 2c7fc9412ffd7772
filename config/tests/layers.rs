//! The four layers, and what is said when one of them is wrong.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use quikapp_config::{ConfigError, Environment, Flags, NodeConfig, example_toml, load};

fn environment(vars: &[(&str, &str)]) -> Environment {
    Environment::from_vars(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn file(text: &str) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    (dir, flags)
}

fn refusal(flags: &Flags, environment: &Environment) -> String {
    load(flags, environment).unwrap_err().to_string()
}

#[test]
fn without_any_layer_the_defaults_hold_and_no_file_is_named() {
    let loaded = load(&Flags::default(), &Environment::default()).unwrap();
    assert_eq!(loaded.config.endpoint.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(loaded.file, None);
}

#[test]
fn each_layer_overrides_the_one_before() {
    let (_dir, mut flags) = file(
        "name = 'from-file'\n[endpoint]\nlisten = '127.0.0.1:1'\nmax_connections = 7\n[socket]\nchannels = 3\n",
    );
    let vars = environment(&[
        ("QUIKAPP_ENDPOINT__LISTEN", "127.0.0.1:2"),
        ("QUIKAPP_SOCKET__CHANNELS", "4"),
        ("PATH", "/bin"),
    ]);
    let loaded = load(&flags, &vars).unwrap();
    assert_eq!(loaded.config.name, "from-file");
    assert_eq!(loaded.config.endpoint.max_connections, 7);
    assert_eq!(loaded.config.socket.channels, 4);
    assert_eq!(loaded.config.endpoint.listen.port(), 2);

    flags.listen = Some("127.0.0.1:3".to_owned());
    flags.data_dir = Some(PathBuf::from("/tmp/elsewhere"));
    let loaded = load(&flags, &vars).unwrap();
    assert_eq!(loaded.config.endpoint.listen.port(), 3);
    assert_eq!(
        loaded.config.storage.data_dir,
        PathBuf::from("/tmp/elsewhere")
    );
}

#[test]
fn the_environment_can_name_the_file() {
    let (_dir, flags) = file("name = 'named by the environment'\n");
    let path = flags.config.unwrap().display().to_string();
    let loaded = load(
        &Flags::default(),
        &environment(&[("QUIKAPP_CONFIG", &path)]),
    )
    .unwrap();
    assert_eq!(loaded.config.name, "named by the environment");
}

#[test]
fn an_unknown_key_is_refused_by_name_and_place() {
    let (dir, flags) = file("[endpoint]\nlisen = '127.0.0.1:1'\n");
    let said = refusal(&flags, &Environment::default());
    assert!(said.contains("lisen"), "{said}");
    assert!(said.contains(&dir.path().display().to_string()), "{said}");

    let said = refusal(
        &Flags::default(),
        &environment(&[("QUIKAPP_ENDPIONT__LISTEN", "x")]),
    );
    assert!(said.contains("endpiont"), "{said}");
    assert!(said.contains("environment"), "{said}");
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_source() {
    let vars = environment(&[("QUIKAPP_SOCKET__CHANNELS", "many")]);
    let said = refusal(&Flags::default(), &vars);
    assert!(said.contains("socket.channels"), "{said}");
    assert!(said.contains("many"), "{said}");
    assert!(said.contains("environment"), "{said}");
}

#[test]
fn a_value_that_makes_no_sense_is_refused_before_anything_starts() {
    let table = [
        ("[storage]\nreaders = 0\n", "readers"),
        (
            "[rest]\nmax_members_per_request = 0\n",
            "max_members_per_request",
        ),
        ("[typing]\nrepeat_every = \"0s\"\n", "repeat_every"),
        ("[socket]\npending_bytes = 0\n", "pending_bytes"),
    ];
    for (text, key) in table {
        let (_dir, flags) = file(text);
        let error = load(&flags, &Environment::default()).unwrap_err();
        assert!(matches!(&error, ConfigError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn a_role_without_content_is_refused() {
    let flags = Flags {
        roles: vec!["teapot".to_owned()],
        ..Flags::default()
    };
    let said = refusal(&flags, &Environment::default());
    assert!(said.contains("teapot") && said.contains("node"), "{said}");
}

#[test]
fn a_missing_file_is_named() {
    let flags = Flags {
        config: Some(PathBuf::from("/does/not/exist.toml")),
        ..Flags::default()
    };
    let said = refusal(&flags, &Environment::default());
    assert!(said.contains("/does/not/exist.toml"), "{said}");
}

#[test]
fn what_quikapp_prints_of_a_configuration_is_a_configuration() {
    let printed = toml::to_string(&NodeConfig::default()).unwrap();
    let (_dir, flags) = file(&printed);
    load(&flags, &Environment::default()).unwrap();
}

#[test]
fn the_example_with_every_line_uncommented_is_the_default() {
    let uncommented: String = example_toml()
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(setting)
                if setting.contains(" = ")
                    && !setting.contains("# none")
                    && is_setting(setting) =>
            {
                Some(setting)
            }
            Some(_) => None,
            None => Some(line),
        })
        .fold(String::new(), |all, line| all + line + "\n");
    let (_dir, flags) = file(&uncommented);
    let loaded = load(&flags, &Environment::default()).unwrap();
    assert_eq!(
        toml::to_string(&loaded.config).unwrap(),
        toml::to_string(&NodeConfig::default()).unwrap()
    );
}

fn is_setting(line: &str) -> bool {
    let key = line.split(" = ").next().unwrap_or_default();
    key.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn a_secret_in_the_address_of_a_server_is_not_shown() {
    let vars = environment(&[("QUIKAPP_STORAGE__LOG", "mysql://quik:s3cret@db:3306/chat")]);
    let loaded = load(&Flags::default(), &vars).unwrap();
    let shown = loaded.config.to_toml();
    assert!(shown.contains("mysql://quik:***@db:3306/chat"), "{shown}");
    let every_way = format!("{shown}{:?}", loaded.config);
    assert!(!every_way.contains("s3cret"), "{every_way}");

    for (key, junk) in [
        ("QUIKAPP_STORAGE__LOG", "redis://:s3cret@db"),
        ("QUIKAPP_STORAGE__PEOPLE", "postgres://quik:s3cret@db/chat"),
    ] {
        let said = refusal(&Flags::default(), &environment(&[(key, junk)]));
        assert!(said.contains("mysql://"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        let name = key.rsplit("__").next().unwrap().to_lowercase();
        assert!(said.contains(&name), "{said}");
    }
}

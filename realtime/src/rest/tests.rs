#![allow(clippy::unwrap_used)]

mod account;
mod admin;
mod conversations;
mod devices;
mod document;
mod kit;
mod matrix;
mod messages;
mod pages;
mod people;
mod preferences;

//! Collections, their indexes, and the version of both. Creating what is there changes nothing,
//! so every start does it; `docs/mongodb.md` describes it for people.

use mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::{IndexOptions, ReturnDocument},
};
use uuid::Uuid;

use super::{MongoError, db::Db, doc::Fields};

/// The shape of the data that this program writes. A database of a later shape is left alone.
pub(super) const VERSION: i64 = 1;

pub(super) const META: &str = "meta";
pub(super) const CONVERSATIONS: &str = "conversations";
pub(super) const MEMBERS: &str = "members";
pub(super) const ENTRIES: &str = "entries";
pub(super) const HIDDEN: &str = "hidden";
pub(super) const PAIRS: &str = "pairs";
pub(super) const STREAM: &str = "stream";

/// Brings a database up to date for a log; its store id.
pub(super) async fn prepare(db: &Db) -> Result<Uuid, MongoError> {
    let store_id = identify(db).await?;
    for (collection, indexes) in indexes() {
        let collection = db.collection(collection);
        db.write(collection.create_indexes(indexes).into_future())
            .await?;
    }
    Ok(store_id)
}

/// Names a database, if it has no name yet, and sees to it that it was not written by a later
/// program; its store id.
pub(super) async fn identify(db: &Db) -> Result<Uuid, MongoError> {
    let meta = db.collection(META);
    let fresh = doc! { "store_id": Uuid::new_v4().to_string(), "schema": VERSION };
    let update = meta
        .find_one_and_update(doc! { "_id": "store" }, doc! { "$setOnInsert": fresh })
        .upsert(true)
        .return_document(ReturnDocument::After);
    let store = match db.write(update.into_future()).await {
        Ok(store) => store,
        // Of two that start at once one may find the record made between its look and its write.
        Err(_) => {
            db.read(meta.find_one(doc! { "_id": "store" }).into_future())
                .await?
        }
    };
    let store = store.ok_or(MongoError::NoRecord)?;
    let found = store.integer("schema")?;
    if found > VERSION {
        let known = VERSION;
        return Err(MongoError::Newer { found, known });
    }
    Uuid::try_parse(store.text("store_id")?).map_err(|_| MongoError::NoRecord)
}

fn indexes() -> Vec<(&'static str, Vec<IndexModel>)> {
    vec![
        (
            CONVERSATIONS,
            // Recovery looks at what is hot, by id.
            vec![plain(doc! { "hot": 1, "_id": 1 })],
        ),
        (
            ENTRIES,
            vec![
                unique(doc! { "conv": 1, "seq": 1 }),
                unique(doc! { "conv": 1, "id": 1 }),
                unique(doc! { "conv": 1, "key": 1 }),
                // A timeline: the main one or a thread.
                plain(doc! { "conv": 1, "line": 1, "seq": 1 }),
                plain(doc! { "conv": 1, "pinned": 1, "seq": 1 }),
            ],
        ),
        (
            MEMBERS,
            vec![
                unique(doc! { "conv": 1, "user": 1, "from": 1 }),
                plain(doc! { "workspace": 1, "user": 1, "to": 1 }),
            ],
        ),
        (
            HIDDEN,
            vec![unique(doc! { "conv": 1, "user": 1, "seq": 1 })],
        ),
        (
            STREAM,
            vec![
                plain(doc! { "parts.conv": 1, "end": 1 }),
                plain(doc! { "parts.conv": 1, "parts.last": 1 }),
            ],
        ),
    ]
}

fn plain(keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).build()
}

fn unique(keys: Document) -> IndexModel {
    let options = IndexOptions::builder().unique(true).build();
    IndexModel::builder().keys(keys).options(options).build()
}

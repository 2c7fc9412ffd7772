//! The handle: the list, as it is kept, with what is known of its devices.

use std::{collections::HashMap, sync::Arc};

use quikapp_storage::{DeviceId, Document, DocumentKind, JsonText, Person, SharedStore, Timestamp};

use super::{Activity, Details, Full, Registered, RegisteredDevice, Registering, Registration};
use crate::{
    Clock,
    delivery::Delivery,
    documents::{ChangeError, Documents},
    people::People,
};

/// People's registered devices. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    /// Keeps the lists.
    pub documents: Documents,
    /// Knows when devices were last in use.
    pub store: SharedStore,
    /// Knows who is connected.
    pub people: People,
    /// Is told which devices are in use, and which are to be forgotten.
    pub delivery: Delivery,
    /// Decides when something was.
    pub clock: Arc<dyn Clock>,
}

/// Why a list does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room, and nobody who may be replaced.
    #[error(transparent)]
    Full(#[from] Full),
    /// The device is not registered, or of nothing at all known.
    #[error(transparent)]
    Unknown(#[from] super::Unknown),
    /// What is kept is no list.
    #[error("the list cannot be read: {0}")]
    Unreadable(String),
}

/// What goes wrong.
pub type DevicesError = ChangeError<Refused>;

/// A registered device, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is registered.
    pub device: RegisteredDevice,
    /// When it last had a socket, joined or acknowledged something, to within a 64th of
    /// `delivery.queue_ttl`; `None` while that is not known.
    pub last_used: Option<Timestamp>,
    /// Whether it has a socket, on whichever node.
    pub is_connected: bool,
}

/// A person's list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Counts the changes; 0 before the first.
    pub version: u64,
    /// In the order in which they were registered.
    pub devices: Vec<Seen>,
}

impl Devices {
    /// Everything that a person has registered.
    pub async fn list(&self, person: &Person) -> Result<List, DevicesError> {
        let (version, list) = self.read(person).await?;
        Ok(List {
            version,
            devices: self.seen(person, list.devices()).await?,
        })
    }

    /// What a person has registered, without how it is used.
    pub async fn registered(&self, person: &Person) -> Result<Registered, DevicesError> {
        Ok(self.read(person).await?.1)
    }

    /// Puts a device into the list, which is in use thereby. Where there is no room, the one that
    /// was in use earliest and is not connected has to go, if `replace` says so. It keeps its
    /// place in what is delivered, should it come back.
    pub async fn register(
        &self,
        person: &Person,
        registration: Registration,
        replace: bool,
    ) -> Result<(Registering, Seen), DevicesError> {
        let used = match replace {
            true => Some(self.all_used(person).await?),
            false => None,
        };
        let (now, id) = (self.clock.now(), registration.device_id.clone());
        let (done, list) = self
            .change(person, |list| {
                // Somebody may have connected since.
                let activity = used.as_ref().map(|last_used| Activity {
                    connected: self.connected(person),
                    last_used: last_used.clone(),
                });
                Ok(list.register(registration.clone(), activity.as_ref(), now)?)
            })
            .await?;
        self.delivery.device_joined(person, &id);
        Ok((done, self.seen_one(person, &list, &id).await?))
    }

    /// Says something of a device.
    pub async fn update(
        &self,
        person: &Person,
        device: &DeviceId,
        details: &Details,
    ) -> Result<Seen, DevicesError> {
        let now = self.clock.now();
        let (_, list) = self
            .change(person, |list| Ok(list.update(device, details, now)?))
            .await?;
        self.seen_one(person, &list, device).await
    }

    /// Takes a device out of the list, and forgets its cursors and what waits for it alone, whether
    /// or not it was in. Closes nothing: one that has a socket keeps it, and is known anew from its
    /// next acknowledgement.
    pub async fn remove(&self, person: &Person, device: &DeviceId) -> Result<(), DevicesError> {
        let (was_registered, _) = self.change(person, |list| Ok(list.remove(device))).await?;
        let was_known = self.delivery.forget_device(person, device).await?;
        match was_registered || was_known {
            true => Ok(()),
            false => Err(unknown()),
        }
    }

    /// A registered device is in use now. Where no cursor of it says so, the list does, once a day.
    pub async fn heartbeat(&self, person: &Person, device: &DeviceId) -> Result<(), DevicesError> {
        let list = self.registered(person).await?;
        let used = self.used(person, std::slice::from_ref(device)).await?;
        // Nothing is refused by a view, which may be behind.
        if list.get(device).is_none() || used.is_empty() {
            let now = self.clock.now();
            self.change(person, |list| Ok(list.touch(device, now)?))
                .await?;
        }
        self.delivery.device_joined(person, device);
        Ok(())
    }

    async fn read(&self, person: &Person) -> Result<(u64, Registered), DevicesError> {
        let kept = self.documents.read(person, DocumentKind::Devices).await?;
        let version = kept.as_ref().map_or(0, |kept| kept.version);
        let list = Registered::of(kept.as_ref()).map_err(ChangeError::Refused)?;
        Ok((version, list))
    }

    /// Changes the list, if there is something to change; what came of it, and the list as it is
    /// then.
    async fn change<T: Send>(
        &self,
        person: &Person,
        mut act: impl FnMut(&mut Registered) -> Result<T, Refused> + Send,
    ) -> Result<(T, Registered), DevicesError> {
        let mut done = None;
        let decide = |kept: Option<&JsonText>| {
            let before = parse(kept)?;
            let mut list = before.clone();
            let outcome = act(&mut list)?;
            let text = (list != before).then(|| text_of(&list)).transpose()?;
            done = Some((outcome, list));
            Ok(text)
        };
        let kind = DocumentKind::Devices;
        self.documents.change(person, kind, decide).await?;
        // It was decided at least once.
        done.ok_or(ChangeError::Contended)
    }

    /// When which was last in use: of all devices that are known of, since the list that is read
    /// may be behind.
    async fn all_used(
        &self,
        person: &Person,
    ) -> Result<HashMap<DeviceId, Timestamp>, DevicesError> {
        let list = self.registered(person).await?;
        let listed = list.devices().iter().map(|it| it.device_id.clone());
        let mut devices: Vec<_> = listed.collect();
        devices.extend(self.store.devices(person).await?);
        devices.sort_unstable();
        devices.dedup();
        self.used(person, &devices).await
    }

    async fn seen_one(
        &self,
        person: &Person,
        list: &Registered,
        id: &DeviceId,
    ) -> Result<Seen, DevicesError> {
        let device = list.get(id).ok_or_else(unknown)?;
        // What was changed stands, whether or not this can be told.
        let used = self.used(person, std::slice::from_ref(id)).await;
        Ok(Seen {
            device: device.clone(),
            last_used: used.ok().and_then(|used| used.get(id).copied()),
            is_connected: self.connected(person).contains(id),
        })
    }

    async fn seen(
        &self,
        person: &Person,
        devices: &[RegisteredDevice],
    ) -> Result<Vec<Seen>, DevicesError> {
        let ids: Vec<_> = devices.iter().map(|it| it.device_id.clone()).collect();
        let used = self.used(person, &ids).await?;
        let connected = self.connected(person);
        let seen = devices.iter().map(|device| Seen {
            device: device.clone(),
            last_used: used.get(&device.device_id).copied(),
            is_connected: connected.contains(&device.device_id),
        });
        Ok(seen.collect())
    }

    fn connected(&self, person: &Person) -> Vec<DeviceId> {
        let connected = self.people.connected(person);
        connected.map(|it| it.devices).unwrap_or_default()
    }

    /// Use is written down ahead of its time, so that nobody is forgotten too early.
    async fn used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, Timestamp>, DevicesError> {
        let used = self.store.last_used(person, devices).await?;
        let now = self.clock.now();
        let known = devices.iter().zip(used);
        let known = known.filter_map(|(id, at)| Some((id.clone(), at?.min(now))));
        Ok(known.collect())
    }
}

impl Registered {
    /// What a document says.
    pub(crate) fn of(kept: Option<&Document>) -> Result<Self, Refused> {
        parse(kept.map(|kept| &kept.json))
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

fn unknown() -> DevicesError {
    ChangeError::Refused(super::Unknown.into())
}

/// Nothing is registered before something is.
fn parse(text: Option<&JsonText>) -> Result<Registered, Refused> {
    let list = text.map(|text| serde_json::from_str(text)).transpose();
    let list = list.map_err(|error| Refused::Unreadable(error.to_string()))?;
    Ok(list.unwrap_or_default())
}

fn text_of(list: &Registered) -> Result<JsonText, Refused> {
    let text = serde_json::to_string(list);
    let text = text.map_err(|error| Refused::Unreadable(error.to_string()))?;
    Ok(text.into())
}

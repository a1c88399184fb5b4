//! The objects that both sides are given.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_runtime::watcher::Event;

/// A ConfigMap as kube-runtime's store takes it, by reference. Reflet takes a clone of the `Arc`,
/// so that one prepared object serves both.
pub type Object = Arc<Event<ConfigMap>>;

/// A collection of ConfigMaps.
#[derive(Debug)]
pub struct World {
    /// Their keys, as the floor and Reflet know them.
    pub keys: Vec<String>,
    /// The objects, as a list brings them.
    pub objects: Vec<Object>,
}

/// Changes of random objects, prepared.
#[derive(Debug)]
pub struct Updates {
    /// Which object changes, and its new state as a watch brings it.
    pub changes: Vec<(usize, Object)>,
}

impl World {
    /// The first `n` objects; the version of each is its place in the list, from 1.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self {
            keys: (0..n).map(crate::key).collect(),
            objects: (0..n)
                .map(|number| Arc::new(Event::InitApply(config_map(number, number + 1))))
                .collect(),
        }
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys and objects, as Reflet takes them.
    pub fn items(&self) -> impl Iterator<Item = (&str, Object)> {
        let objects = self.objects.iter().map(Arc::clone);
        self.keys.iter().map(String::as_str).zip(objects)
    }

    /// So many changes of random objects.
    #[must_use]
    pub fn updates(&self, random: &mut fastrand::Rng, count: usize) -> Updates {
        let changes = (0..count)
            .map(|version| {
                let number = random.usize(..self.len());
                let object = config_map(number, self.len() + version + 1);
                (number, Arc::new(Event::Apply(object)))
            })
            .collect();
        Updates { changes }
    }

    /// The changes in batches of up to `size`, ready to be handed over.
    pub fn batches(&self, updates: &Updates, size: usize) -> impl Iterator<Item = Batch> {
        updates.changes.chunks(size).map(|changes| Batch {
            keys: changes
                .iter()
                .map(|(number, _)| self.keys[*number].clone())
                .collect(),
            objects: changes
                .iter()
                .map(|(_, object)| Arc::clone(object))
                .collect(),
        })
    }
}

/// Changes as a driver has them once it has decoded them.
#[derive(Debug)]
pub struct Batch<V = Object> {
    /// Which keys change.
    pub keys: Vec<String>,
    /// What they change to.
    pub objects: Vec<V>,
}

impl<V> Batch<V> {
    /// Hands over each key and its new object. Returns the keys, for somebody else to drop.
    pub fn each(self, mut change: impl FnMut(&str, V)) -> Vec<String> {
        for (key, object) in self.keys.iter().zip(self.objects) {
            change(key, object);
        }
        self.keys
    }
}

const SETTINGS: &str = "timeout: 30s\nretries: 3\nlog: info\nbackoff: exponential\nlimits:\n  \
                        connections: 256\n  requests: 10000\ncache:\n  size: 64Mi\n  ttl: 5m\n";

/// A ConfigMap of about 1.9 KB in memory and 0.6 KB of JSON.
#[must_use]
pub fn config_map(number: usize, version: usize) -> ConfigMap {
    let (namespace, name) = (number % 1_000, format!("obj-{number:08}"));
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(format!("ns-{namespace}")),
            uid: Some(format!("6f1c8a52-3d47-4b0e-9a6c-{number:012}")),
            resource_version: Some(version.to_string()),
            labels: Some(texts([
                (
                    "app.kubernetes.io/name",
                    format!("service-{}", number % 100),
                ),
                ("app.kubernetes.io/part-of", "shop".to_owned()),
                ("tier", "backend".to_owned()),
            ])),
            name: Some(name),
            ..ObjectMeta::default()
        },
        data: Some(texts([
            (
                "endpoint",
                format!("http://10.0.{}.{}:8080/", number / 250 % 250, number % 250),
            ),
            ("checksum", format!("{number:032x}{version:032x}")),
            ("settings.yaml", SETTINGS.to_owned()),
        ])),
        ..ConfigMap::default()
    }
}

fn texts<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_as_large_as_it_is_said_to_be() {
        let bytes = serde_json::to_string(&config_map(123_456, 7))
            .unwrap()
            .len();
        assert!(bytes.abs_diff(crate::WIRE_BYTES) < 50, "{bytes}");
    }

    #[test]
    fn updates_are_of_objects_that_are_there_and_the_same_each_time() {
        let world = World::new(50);
        let numbers = |seed| {
            let updates = world.updates(&mut fastrand::Rng::with_seed(seed), 20);
            let batches: Vec<_> = world.batches(&updates, 8).collect();
            assert_eq!(batches.len(), 3);
            let keys: Vec<_> = batches.into_iter().flat_map(|batch| batch.keys).collect();
            assert!(keys.iter().all(|key| world.keys.contains(key)));
            keys
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }
}

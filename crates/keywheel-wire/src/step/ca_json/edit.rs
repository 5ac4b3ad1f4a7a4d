//! Changes to a `ca.json`: a change that would make the file wrong is not made at all.

use serde_json::{Map, Value};

use super::fields::{CaJsonError, Fields};
use super::{CaJson, policy};
use crate::json;

impl CaJson {
    /// The provisioner objects as they stand in the file.
    #[must_use]
    pub fn provisioner_objects(&self) -> Vec<&Map<String, Value>> {
        self.document
            .get("authority")
            .and_then(|authority| authority.get("provisioners"))
            .and_then(Value::as_array)
            .map_or_else(Vec::new, |entries| entries.iter().filter_map(Value::as_object).collect())
    }

    /// The one provisioner object of that name, and of that type where one is given.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn provisioner_object(&self, name: &str, type_name: Option<&str>) -> Result<&Map<String, Value>, CaJsonError> {
        let objects = self.provisioner_objects();
        let mut matching = objects.into_iter().filter(|object| matches(object, name, type_name));
        let first = matching.next().ok_or_else(|| CaJsonError::NoSuchProvisioner(name.to_owned()))?;
        if matching.next().is_some() {
            return Err(CaJsonError::AmbiguousProvisioner(name.to_owned()));
        }
        Ok(first)
    }

    /// Puts a provisioner at the end.
    ///
    /// # Errors
    /// When its name is taken by one of the same type, or the object is not a valid provisioner. Then nothing is changed.
    pub fn add_provisioner(&mut self, object: Map<String, Value>) -> Result<(), CaJsonError> {
        let fields = Fields::at("provisioner".to_owned(), &object);
        let name = fields.required_text("name", "the provisioner's name")?;
        let type_name = fields.required_text("type", "a provisioner type such as \"JWK\"")?;
        if self.provisioner_objects().iter().any(|other| matches(other, &name, Some(&type_name))) {
            return Err(CaJsonError::ProvisionerExists(name));
        }
        self.change(|document| {
            let authority = policy::path(document, &["authority"])?;
            let list = authority.entry("provisioners").or_insert(Value::Null);
            if list.is_null() {
                *list = Value::Array(Vec::new());
            }
            let found = json::describe(list);
            let list = list.as_array_mut().ok_or_else(|| CaJsonError::Field {
                place: "authority.provisioners".to_owned(),
                expected: "a list".to_owned(),
                found,
            })?;
            list.push(Value::Object(object));
            Ok(())
        })
    }

    /// Changes the one provisioner of that name (and type) in place.
    ///
    /// # Errors
    /// When there is none or several, or the result is not valid. Then nothing is changed.
    pub fn update_provisioner(
        &mut self,
        name: &str,
        type_name: Option<&str>,
        update: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), CaJsonError> {
        self.provisioner_object(name, type_name)?;
        self.change(|document| {
            let object = list(document)
                .into_iter()
                .flatten()
                .filter_map(Value::as_object_mut)
                .find(|object| matches(object, name, type_name))
                .ok_or_else(|| CaJsonError::NoSuchProvisioner(name.to_owned()))?;
            update(object);
            Ok(())
        })
    }

    /// Takes the one provisioner of that name (and type) out and returns it.
    ///
    /// # Errors
    /// When there is none or several. Then nothing is changed.
    pub fn remove_provisioner(
        &mut self,
        name: &str,
        type_name: Option<&str>,
    ) -> Result<Map<String, Value>, CaJsonError> {
        let removed = self.provisioner_object(name, type_name)?.clone();
        let entries = list(&mut self.document).into_iter().next();
        if let Some(entries) = entries {
            entries.retain(|entry| !entry.as_object().is_some_and(|object| matches(object, name, type_name)));
        }
        Ok(removed)
    }

    /// Sets one of our own settings, such as the database.
    ///
    /// # Errors
    /// When the setting is not accepted. Then nothing is changed.
    pub fn set_keywheel(&mut self, name: &str, value: Value) -> Result<(), CaJsonError> {
        self.change(|document| {
            policy::path(document, &["keywheel"])?.insert(name.to_owned(), value);
            Ok(())
        })?;
        Ok(())
    }

    /// Makes a change on a copy and keeps it only if provisioners and policy are still right.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), CaJsonError>,
    ) -> Result<(), CaJsonError> {
        let mut changed = self.clone();
        change(&mut changed.document)?;
        changed.policy()?;
        changed.provisioners()?;
        *self = changed;
        Ok(())
    }
}

fn list(document: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    document.get_mut("authority")?.get_mut("provisioners")?.as_array_mut()
}

fn matches(object: &Map<String, Value>, name: &str, type_name: Option<&str>) -> bool {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    text("name") == name && type_name.is_none_or(|wanted| text("type").eq_ignore_ascii_case(wanted))
}

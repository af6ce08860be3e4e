//! A layer of plugins around messages.

use std::{fmt, rc::Rc};

use crate::{
    contain::attempt,
    proto::message::{
        Message,
        plugins::{AuthPlugin, Binding, CipherPlugin, PluginError, Scene},
    },
};

/// What a node, a handler or a request does to messages on their way out, and undoes on their way in: a cipher, a code
/// that authenticates, both, or neither.
///
/// The node's layer lies around that of its handlers. Two layers need fields of different names.
///
/// # Examples
///
/// ```
/// use wakering::message::{HmacAuth, Layer, StreamCipher};
///
/// let outer = Layer::new().auth(HmacAuth::new("a secret")).cipher(StreamCipher::new("a key"));
/// let inner = Layer::new().auth(HmacAuth::new("the admin's").field("camh"));
/// # drop((outer, inner));
/// ```
#[derive(Clone, Default)]
pub struct Layer {
    pub(super) auth: Option<Rc<dyn AuthPlugin>>,
    pub(super) cipher: Option<Rc<dyn CipherPlugin>>,
    /// Takes only messages whose codes are bound to their types and fields.
    pub(super) is_strict: bool,
}

/// Why a message does not come through a layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is not from whom it says, in the plugin's words.
    #[error("{0}")]
    Auth(String),
    /// It is not sealed in the session, or the seal is broken.
    #[error("the session broke: {0}")]
    Seal(PluginError),
    /// It cannot be read.
    #[error(transparent)]
    Cipher(#[from] PluginError),
}

impl Layer {
    /// Nothing.
    #[must_use]
    pub fn new() -> Layer {
        Layer::default()
    }

    /// Signs what is sent, and takes only what is genuine.
    #[must_use]
    pub fn auth(mut self, plugin: impl AuthPlugin + 'static) -> Layer {
        self.auth = Some(Rc::new(plugin));
        self
    }

    /// Encrypts what is sent, and decrypts what comes.
    #[must_use]
    pub fn cipher(mut self, plugin: impl CipherPlugin + 'static) -> Layer {
        self.cipher = Some(Rc::new(plugin));
        self
    }

    /// Takes only messages whose code covers their type and fields, too; by default those of a peer that has never shown that
    /// it can do that pass without, as the Python package's do.
    #[must_use]
    pub fn only_bound(mut self) -> Layer {
        self.is_strict = true;
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.auth.is_none() && self.cipher.is_none()
    }

    /// Whether each receiver needs a message of its own.
    pub(super) fn is_particular(&self) -> bool {
        self.auth.as_ref().is_some_and(|auth| auth.is_peer_specific())
            || self.cipher.as_ref().is_some_and(|cipher| cipher.is_peer_specific())
    }

    /// Wraps a message that is sent.
    pub(super) fn wrap(
        &self,
        message: &mut Message,
        binds: bool,
        scene: &mut Scene<'_>,
    ) -> Result<(), PluginError> {
        contained(|| {
            if let Some(cipher) = &self.cipher {
                cipher.encrypt(message, scene)?;
            }
            let Some(auth) = &self.auth else { return Ok(()) };
            auth.sign(message, scene)?;
            if binds {
                auth.bind(message);
            }
            Ok(())
        })
    }

    /// Whether a message that has come is genuine, and what it is bound to.
    pub(super) fn judge(&self, message: &Message, scene: &Scene<'_>) -> Result<Binding, Refused> {
        let Some(auth) = &self.auth else { return Ok(Binding::Unknown) };
        let judged = attempt(|| {
            if !auth.is_genuine(message, scene) {
                return Err(Refused::Auth(auth.refusal().to_owned()));
            }
            Ok(auth.binding(message))
        });
        judged.unwrap_or_else(|| Err(Refused::Auth(PluginError::Panicked.to_string())))
    }

    /// What a message that was judged to be genuine is bound to.
    pub(super) fn binding(&self, message: &Message) -> Binding {
        let binding = self.auth.as_ref().and_then(|auth| attempt(|| auth.binding(message)));
        binding.unwrap_or(Binding::Unknown)
    }

    /// Makes a genuine message readable.
    pub(super) fn open(&self, message: &mut Message, scene: &Scene<'_>) -> Result<(), PluginError> {
        self.cipher.as_ref().map_or(Ok(()), |cipher| contained(|| cipher.decrypt(message, scene)))
    }
}

/// Has plugins work on a message, which is good for nothing when one of them panics.
fn contained(work: impl FnOnce() -> Result<(), PluginError>) -> Result<(), PluginError> {
    attempt(work).unwrap_or(Err(PluginError::Panicked))
}

impl fmt::Debug for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (auth, cipher) = (self.auth.is_some(), self.cipher.is_some());
        out.debug_struct("Layer").field("auth", &auth).field("cipher", &cipher).finish()
    }
}

//! A layer of plugins around messages.

use std::{fmt, rc::Rc, time::SystemTime};

use crate::proto::message::{
    Message, Value,
    plugins::{AuthPlugin, CipherPlugin, PluginError, Scene},
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
    auth: Option<Rc<dyn AuthPlugin>>,
    cipher: Option<Rc<dyn CipherPlugin>>,
}

/// Why a message does not come through a layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is not from whom it says, in the plugin's words.
    #[error("{0}")]
    Auth(String),
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

    /// Wraps a message that is sent to a peer that has said this of itself.
    pub(super) fn wrap(&self, message: &mut Message, said: Option<&Value>) -> Result<(), PluginError> {
        on_scene(said, |scene| {
            if let Some(cipher) = &self.cipher {
                cipher.encrypt(message, scene)?;
            }
            self.auth.as_ref().map_or(Ok(()), |auth| auth.sign(message, scene))
        })
    }

    /// Unwraps a message that has come from a peer that has said this of itself.
    pub(super) fn unwrap(&self, message: &mut Message, said: Option<&Value>) -> Result<(), Refused> {
        on_scene(said, |scene| {
            if let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_genuine(message, scene)) {
                return Err(Refused::Auth(auth.refusal().to_owned()));
            }
            self.cipher.as_ref().map_or(Ok(()), |cipher| Ok(cipher.decrypt(message, scene)?))
        })
    }
}

fn on_scene<R>(peer: Option<&Value>, body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_time = u32::try_from(since_1970.as_secs()).unwrap_or(u32::MAX);
    let mut random = |octets: &mut [u8]| {
        getrandom::fill(octets).expect("a system that runs has random numbers");
    };
    body(&mut Scene { unix_time, random: &mut random, peer })
}

impl fmt::Debug for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (auth, cipher) = (self.auth.is_some(), self.cipher.is_some());
        out.debug_struct("Layer").field("auth", &auth).field("cipher", &cipher).finish()
    }
}

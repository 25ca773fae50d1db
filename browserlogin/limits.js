// What a page cannot have in this browser, refused at once and in the words of the
// standards, so that sites go on to what works.
(() => {
  const refuse = (name, text) => () => Promise.reject(new DOMException(text, name));

  // The picture is the whole screen to a page that fills it, and the address line is outside.
  for (const name of ["requestFullscreen", "webkitRequestFullscreen", "requestPointerLock"]) {
    if (name in Element.prototype) Element.prototype[name] = { [name]: refuse("NotAllowedError", "Permissions check failed") }[name];
  }

  // The person's passkeys are on their own devices, out of reach from here. A site
  // that asks hears no and offers the password; a site that wants to make one must
  // not get one that nobody will ever have.
  if (!globalThis.CredentialsContainer) return;
  const wait = (signal) => new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
  const no = refuse("NotAllowedError", "The operation either timed out or was not allowed.");
  for (const name of ["get", "create"]) {
    const native = CredentialsContainer.prototype[name];
    CredentialsContainer.prototype[name] = { [name](options) {
      if (!options?.publicKey) return native.apply(this, arguments);
      return options.mediation === "conditional" ? wait(options.signal) : no();
    } }[name];
  }
  const P = globalThis.PublicKeyCredential;
  if (P) P.isUserVerifyingPlatformAuthenticatorAvailable = P.isConditionalMediationAvailable = async () => false;
})();

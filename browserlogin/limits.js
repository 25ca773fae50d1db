// What a page cannot have in this browser, refused at once and in the words of the
// standards, so that sites go on to what works.
(() => {
  const refuse = (name, text) => () => Promise.reject(new DOMException(text, name));

  // The picture is the whole screen to a page that fills it, and the address line is outside.
  // All spellings do the same. Another screen or window to show to a site is not here, and the question for it would freeze the page.
  const replace = (on, names, text) => {
    for (const name of names) if (on && name in on.prototype) on.prototype[name] = { [name]: refuse("NotAllowedError", text) }[name];
  };
  replace(globalThis.Element, ["requestFullscreen", "webkitRequestFullscreen", "webkitRequestFullScreen", "requestPointerLock"], "Permissions check failed");
  replace(globalThis.HTMLVideoElement, ["webkitEnterFullscreen", "webkitEnterFullScreen"], "Permissions check failed");
  replace(globalThis.MediaDevices, ["getDisplayMedia"], "Permission denied");

  // The person's passkeys are on their own devices, out of reach from here, and so are their wallets and what they are signed
  // in to. A site that asks hears no and offers the password; a site that wants to make one must
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
      if (!options?.publicKey && !options?.digital && !options?.identity) return native.apply(this, arguments);
      return options.mediation === "conditional" ? wait(options.signal) : no();
    } }[name];
  }
  const P = globalThis.PublicKeyCredential;
  if (P) P.isUserVerifyingPlatformAuthenticatorAvailable = P.isConditionalMediationAvailable = async () => false;
})();

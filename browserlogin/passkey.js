// The person's passkeys are on their own devices, out of this browser's reach. A
// site that asks hears no at once, and offers the password; a site that wants to
// make one must not get one that nobody will ever have.
(() => {
  if (!globalThis.CredentialsContainer) return;
  const refuse = () => Promise.reject(new DOMException("The operation either timed out or was not allowed.", "NotAllowedError"));
  const wait = (signal) => new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
  for (const name of ["get", "create"]) {
    const native = CredentialsContainer.prototype[name];
    CredentialsContainer.prototype[name] = { [name](options) {
      if (!options?.publicKey) return native.apply(this, arguments);
      return options.mediation === "conditional" ? wait(options.signal) : refuse();
    } }[name];
  }
  const P = globalThis.PublicKeyCredential;
  if (P) P.isUserVerifyingPlatformAuthenticatorAvailable = P.isConditionalMediationAvailable = async () => false;
})();

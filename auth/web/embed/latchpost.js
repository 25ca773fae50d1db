// Elements for other people's pages. Nothing is read from Latchpost here and nothing is
// sent to it: a page that embeds us learns nothing, and a sign-in opens in a tab of its own.
//
//   <script src="https://latchpost.example/embed/latchpost.js"></script>
//   <latchpost-connect request="REQUEST_ID" provider="GitHub"></latchpost-connect>
//
// request is the request_id of an auth_required answer. The parts to style are ::part(link).
(() => {
  const home = new URL(document.currentScript.src).origin;
  const look = new CSSStyleSheet();
  look.replaceSync(`
    a { display: inline-block; padding: .7em 1.4em; border-radius: 12px; font: 600 1rem/1.25 system-ui, sans-serif;
        background: #0f6b5c; color: #fff; text-decoration: none; }
    a:hover { background: #0b5649; }
    a:focus-visible { outline: 3px solid #0f6b5c; outline-offset: 2px; }`);

  class Connect extends HTMLElement {
    static observedAttributes = ["request", "provider"];
    #root = this.attachShadow({ mode: "open" });

    constructor() {
      super();
      this.#root.adoptedStyleSheets = [look];
    }

    attributeChangedCallback() {
      const id = this.getAttribute("request") ?? "";
      if (!/^[A-Z2-7]{26}$/.test(id)) return this.#root.replaceChildren();
      const link = document.createElement("a");
      link.href = `${home}/c/${id}`;
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      link.part = "link";
      link.textContent = `Connect ${this.getAttribute("provider") ?? ""}`.trim();
      this.#root.replaceChildren(link);
    }
  }
  customElements.define("latchpost-connect", Connect);
})();

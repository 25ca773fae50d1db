// What may go wrong at this server on request of a test. POST /test/fault takes
// {"path", "status", "headers", "body"} for an answer of the test's own, or
// {"path", "cut": "before" | "after"} for a lost request or a lost answer. Each is
// good for one request.
export class Faults {
  #queue = [];

  async program(request, response) {
    let body = '';
    for await (const chunk of request) body += chunk;
    this.#queue.push(JSON.parse(body));
    response.writeHead(204).end();
  }

  // answers is true when a fault took the request.
  answers(path, request, response, honest) {
    const at = this.#queue.findIndex((fault) => fault.path === path);
    if (at < 0) return false;
    const [fault] = this.#queue.splice(at, 1);
    if (fault.cut === 'before') {
      request.socket.destroy();
    } else if (fault.cut === 'after') {
      response.write = () => true;
      response.end = () => { request.socket.destroy(); return response; };
      honest(request, response);
    } else {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? '');
    }
    return true;
  }
}

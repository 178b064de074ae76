// Preloaded into servers that listen on every address: they listen on 127.0.0.1.

import net from "node:net";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port === "object" || typeof rest[0] === "string") {
    return listen.call(this, port, ...rest);
  }
  return listen.call(this, port, "127.0.0.1", ...rest);
};

// Preloaded into programs that can't be told a token: every request of theirs carries TOKEN.

import { getGlobalDispatcher, setGlobalDispatcher } from "undici";

const authorization = `Bearer ${process.env.TOKEN}`;
const withToken = (headers) => {
  if (Array.isArray(headers)) return [...headers, "authorization", authorization];
  if (headers && typeof headers[Symbol.iterator] === "function") {
    return { ...Object.fromEntries(headers), authorization };
  }
  return { ...headers, authorization };
};
setGlobalDispatcher(
  getGlobalDispatcher().compose((dispatch) => (options, handler) =>
    dispatch({ ...options, headers: withToken(options.headers) }, handler),
  ),
);

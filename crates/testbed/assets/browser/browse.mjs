// Drives a browser by the Chrome DevTools Protocol over a pipe, without any package.
//
//   node browse.mjs PROGRAM PROFILE '[{"open": URL}, {"until": EXPRESSION}, {"run": EXPRESSION}]'
//
// Prints what each `run` gave as a JSON array.

import { spawn } from 'node:child_process';

const [program, profile, plan] = process.argv.slice(2);
const PATIENCE = 60_000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const browser = spawn(program, [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  '--no-proxy-server', '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank',
  // What is started is a script at times, so all of its group is ended.
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true });
const [, , , commands, answers] = browser.stdio;

// Messages are JSON, each ended by a NUL.
const waiting = new Map();
let left = Buffer.alloc(0);
answers.on('data', (bytes) => {
  left = Buffer.concat([left, bytes]);
  for (let end; (end = left.indexOf(0)) >= 0; left = left.subarray(end + 1)) {
    const { id, result, error } = JSON.parse(left.subarray(0, end));
    const waits = waiting.get(id);
    waiting.delete(id);
    if (error) waits?.no(new Error(error.message));
    else waits?.yes(result);
  }
});
browser.on('exit', (code) => {
  for (const { no } of waiting.values()) no(new Error(`the browser ended: ${code}`));
});

let last = 0;
let sessionId;
const ask = (method, params = {}) => new Promise((yes, no) => {
  waiting.set(++last, { yes, no });
  setTimeout(no, PATIENCE, new Error(`${method} is not answered`)).unref();
  commands.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
});
const value = async (expression) => {
  const { result, exceptionDetails } = await ask('Runtime.evaluate',
    { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) {
    throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  }
  return result.value ?? null;
};

const until = async (expression) => {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await pause(50)) {
    // A page that is being left has nothing to ask.
    if (await value(expression).catch(() => false)) return;
  }
  throw new Error(`never: ${expression}, at ${await value('location.href')}:\n`
    + await value('document.documentElement.outerHTML'));
};

try {
  const { targetId } = await ask('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = await ask('Target.attachToTarget', { targetId, flatten: true }));
  const given = [];
  for (const step of JSON.parse(plan)) {
    if (step.open) {
      const { errorText } = await ask('Page.navigate', { url: step.open });
      if (errorText) throw new Error(`${step.open}: ${errorText}`);
    }
    if (step.until) await until(step.until);
    if (step.run) given.push(await value(step.run));
  }
  process.stdout.write(JSON.stringify(given));
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
try {
  process.kill(-browser.pid, 'SIGKILL');
} catch {
  // It has ended by itself.
}

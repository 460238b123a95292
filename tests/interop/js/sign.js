// Signs with @sigstore/sign, against the peers of @sigstore/mock: a CA with its CT log, Rekor v1 and a TSA, in this process.
//
// Of Rekor v2 there is nothing: the mock's answers name an index behind the end of their tree and keep the request in place
// of an entry, so that @sigstore/verify refuses them as well. Messages are v0.2 whatever one asks @sigstore/sign for.
//
// Usage: sign.js FOLDER ARTIFACT IDENTITY ISSUER
// Writes `trusted_root.json` and one bundle for each shape that sigstore-js makes into FOLDER.

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const nock = require('nock');
const mock = require('@sigstore/mock');
const { bundleToJSON } = require('@sigstore/bundle');
const { HashAlgorithm, PublicKeyDetails, TrustedRoot } = require('@sigstore/protobuf-specs');
const { DSSEBundleBuilder, FulcioSigner, MessageSignatureBundleBuilder, RekorWitness, TSAWitness } = require('@sigstore/sign');

const FULCIO = 'https://fulcio.js.test';
const REKOR = 'https://rekor.js.test';
const TSA = 'https://tsa.js.test';
const FRACTIONAL_TSA = 'https://fractional.tsa.js.test';
const IN_TOTO = 'application/vnd.in-toto+json';
const COSIGN_SIGN = 'https://sigstore.dev/cosign/sign/v1';
const SLSA = 'https://slsa.dev/provenance/v1';

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest();
const keyPair = () => crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const wholeSecond = () => Math.floor(Date.now() / 1000) * 1000;

/** Answers requests to `url` as `handler` does. */
function serve(url, handler) {
  nock(url)
    .persist()
    .post(handler.path)
    .reply(async (_, body) => {
      const answer = await handler.fn(typeof body === 'string' ? body : JSON.stringify(body));
      return [answer.statusCode, answer.response, { 'Content-Type': answer.contentType ?? 'text/plain' }];
    });
}

/**
 * A log that keeps of an envelope what Rekor v1 keeps of it (sigstore/rekor `pkg/types/dsse/v0.0.1`): the mock's own would
 * keep the proposal, which no verifier takes for an entry.
 */
function canonicalizing(log) {
  return {
    publicKey: log.publicKey,
    async log(proposed) {
      if (proposed.kind !== 'dsse') {
        return log.log(proposed);
      }
      const { envelope, verifiers } = proposed.spec.proposedContent;
      const { payload, signatures } = JSON.parse(envelope);
      const hash = (bytes) => ({ algorithm: 'sha256', value: sha256(bytes).toString('hex') });
      return log.log({
        apiVersion: proposed.apiVersion,
        kind: proposed.kind,
        spec: {
          envelopeHash: hash(envelope),
          payloadHash: hash(Buffer.from(payload, 'base64')),
          signatures: signatures.map(({ sig }, index) => ({ signature: sig, verifier: verifiers[index] })),
        },
      });
    },
  };
}

/** What answers with the time of the asking, without the fractions of a second that the mock's own clock has. */
function inWholeSeconds(clock, handler) {
  return {
    path: handler.path,
    async fn(body) {
      clock.setTime(wholeSecond());
      return handler.fn(body);
    },
  };
}

/** The trusted root that names the mock's CA, logs and TSA. */
function trustedRoot({ ca, ctLog, rekor, tsas }, start) {
  const validFor = { start };
  const certificate = (bytes) => ({ rawBytes: Buffer.from(bytes) });
  const authority = (uri, chain) => ({
    subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
    uri,
    certChain: { certificates: chain.map(certificate) },
    validFor,
    operator: '',
  });
  const log = (baseUrl, publicKey) => ({
    baseUrl,
    hashAlgorithm: HashAlgorithm.SHA2_256,
    publicKey: { rawBytes: publicKey, keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256, validFor },
    logId: { keyId: sha256(publicKey) },
    operator: '',
  });
  return TrustedRoot.toJSON({
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [log(REKOR, rekor.publicKey)],
    ctlogs: [log('https://ctfe.js.test', Buffer.from(ctLog.publicKey))],
    certificateAuthorities: [authority(FULCIO, [ca.rootCertificate])],
    timestampAuthorities: tsas.map((tsa) => authority(TSA, [tsa.intCertificate, tsa.rootCertificate])),
  });
}

/** A token as an OIDC provider gives it; the mock reads its claims alone. */
function identityToken(sub, iss) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return [part({ alg: 'none' }), part({ sub, iss }), ''].join('.');
}

function statement(artifact, predicateType, predicate) {
  return Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'artifact', digest: { sha256: sha256(artifact).toString('hex') } }],
      predicateType,
      predicate,
    }),
  );
}

const PROVENANCE = {
  buildDefinition: {
    buildType: 'https://js.test/build/v1',
    externalParameters: {},
    resolvedDependencies: [{ uri: 'git+https://github.com/acme/shop', digest: { gitCommit: 'a'.repeat(40) } }],
  },
  runDetails: { builder: { id: 'https://js.test/builder' } },
};

async function main(folder, artifactFile, identity, issuer) {
  nock.disableNetConnect();
  // The certificates begin in this very second, and their times have no smaller parts.
  const start = new Date(wholeSecond());
  const caKeys = keyPair();
  const ctLog = await mock.initializeCTLog(keyPair());
  const ca = await mock.initializeCA(caKeys, ctLog);
  const rekor = canonicalizing(await mock.initializeTLog(REKOR, keyPair()));
  const clock = new Date();
  const tsa = await mock.initializeTSA(keyPair(), clock);
  const fractionalTsa = await mock.initializeTSA(keyPair());
  serve(FULCIO, mock.fulcioHandler(ca));
  serve(REKOR, mock.rekorHandler(rekor));
  serve(TSA, inWholeSeconds(clock, mock.tsaHandler(tsa)));
  serve(FRACTIONAL_TSA, mock.tsaHandler(fractionalTsa));
  const write = (name, json) => fs.writeFileSync(path.join(folder, name), JSON.stringify(json));
  write('trusted_root.json', trustedRoot({ ca, ctLog, rekor, tsas: [tsa, fractionalTsa] }, start));

  const artifact = fs.readFileSync(artifactFile);
  const options = (witnesses) => ({
    signer: new FulcioSigner({
      fulcioBaseURL: FULCIO,
      identityProvider: { getToken: async () => identityToken(identity, issuer) },
    }),
    witnesses,
  });
  const log = (entryType) => new RekorWitness({ rekorBaseURL: REKOR, entryType });
  const stamp = (tsaBaseURL = TSA) => new TSAWitness({ tsaBaseURL });
  const message = (witnesses) => new MessageSignatureBundleBuilder(options(witnesses)).create({ data: artifact });
  const envelope = (witnesses, data, certificateChain) =>
    new DSSEBundleBuilder({ ...options(witnesses), certificateChain }).create({ data, type: IN_TOTO });
  const signature = statement(artifact, COSIGN_SIGN, {});
  const provenance = statement(artifact, SLSA, PROVENANCE);
  const bundles = {
    'message-v0.2': message([log()]),
    'message-stamped-v0.2': message([log(), stamp()]),
    'signature-v0.2': envelope([log()], signature, true),
    'signature-v0.3': envelope([log()], signature, false),
    'signature-stamped-v0.3': envelope([log(), stamp()], signature, false),
    'signature-intoto-v0.3': envelope([log('intoto')], signature, false),
    'fractional-v0.3': envelope([log(), stamp(FRACTIONAL_TSA)], signature, false),
    'provenance-v0.3': envelope([log()], provenance, false),
  };
  for (const [name, bundle] of Object.entries(bundles)) {
    write(`${name}.json`, bundleToJSON(await bundle));
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

// The official SDK, unmodified, pointed at a Momento-compatible server on this machine.
'use strict';
const {
  CacheClient, Configurations, CredentialProvider, DefaultMomentoLoggerFactory,
  DefaultMomentoLoggerLevel,
} = require('@gomomento/sdk');

exports.connect = (target) => {
  const [hostname, port] = target.split(':');
  return CacheClient.create({
    configuration: Configurations.Laptop.v1(
      new DefaultMomentoLoggerFactory(DefaultMomentoLoggerLevel.ERROR)),
    credentialProvider: CredentialProvider.forMomentoLocal({hostname, port: Number(port)}),
    defaultTtlSeconds: 60,
  });
};

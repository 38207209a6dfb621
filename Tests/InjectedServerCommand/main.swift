internal import InjectedServer

_ = InjectedServer()

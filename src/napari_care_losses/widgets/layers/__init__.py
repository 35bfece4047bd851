"""Napari layers: conversion to frames, restored layers, the canvas."""

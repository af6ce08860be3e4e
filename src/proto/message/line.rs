//! Requests one behind the other, and how much memory they have.

use std::collections::{VecDeque, vec_deque};

use super::requests::Request;

/// Requests in an order, with the sum of their octets.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    requests: VecDeque<Request>,
    octets: usize,
}

impl Line {
    pub(super) fn new() -> Line {
        Line::default()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Octets of all of them.
    #[inline]
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn front(&self) -> Option<&Request> {
        self.requests.front()
    }

    pub(super) fn back(&self) -> Option<&Request> {
        self.requests.back()
    }

    pub(super) fn iter(&self) -> vec_deque::Iter<'_, Request> {
        self.requests.iter()
    }

    pub(super) fn iter_mut(&mut self) -> vec_deque::IterMut<'_, Request> {
        self.requests.iter_mut()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Request> {
        self.requests.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Request> {
        self.requests.get_mut(at)
    }

    #[inline]
    pub(super) fn push_back(&mut self, request: Request) {
        self.octets += request.octets as usize;
        self.requests.push_back(request);
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Request> {
        let taken = self.requests.pop_front();
        self.without(taken)
    }

    pub(super) fn pop_back(&mut self) -> Option<Request> {
        let taken = self.requests.pop_back();
        self.without(taken)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Request> {
        let taken = self.requests.remove(at);
        self.without(taken)
    }

    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&Request) -> bool) {
        let mut left = 0;
        self.requests.retain(|request| {
            let stays = keeps(request);
            left += if stays { request.octets as usize } else { 0 };
            stays
        });
        self.octets = left;
    }

    #[inline]
    fn without(&mut self, taken: Option<Request>) -> Option<Request> {
        self.octets -= taken.as_ref().map_or(0, |request| request.octets as usize);
        taken
    }
}

impl<'l> IntoIterator for &'l Line {
    type Item = &'l Request;
    type IntoIter = vec_deque::Iter<'l, Request>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
